"""ONNX files without protobuf objects: a graph in memory, weights as byte ranges of their file."""
