"""Models that are ONNX files: they get the recipe's marks, and are run as they are."""
