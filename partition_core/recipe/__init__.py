"""From YAML text to a Recipe: files, schema, checks, policies. Imports neither torch nor onnx."""
