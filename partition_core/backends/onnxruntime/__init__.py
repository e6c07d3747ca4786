"""The only door to onnxruntime: as plain as a proof needs, and as a user sets it."""
