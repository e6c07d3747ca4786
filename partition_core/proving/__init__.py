"""The proof that the segments, the end2end model and eager PyTorch agree: numpy and onnxruntime."""
