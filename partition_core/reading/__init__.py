"""From YAML text to a recipe: files, schema, checks. Imports neither torch nor onnx."""
