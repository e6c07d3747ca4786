"""The only importer of onnxruntime: without optimizations for a proof, or as a user sets it."""
