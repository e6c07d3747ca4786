"""From a torch module to an ONNX model with its marks: the door to torch."""
