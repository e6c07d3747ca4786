"""The only importer of ncnn: converts a segment with pnnx, and runs that on the CPU."""
