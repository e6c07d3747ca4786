"""From a recipe's model to its end2end ONNX model: the one door to torch and mmdet."""
