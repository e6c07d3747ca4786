"""ONNX graphs as values: marks, scopes and cuts. Imports neither torch nor doit."""
