"""Makes what a device with TensorRT builds its engine from; nothing here imports or runs it."""
