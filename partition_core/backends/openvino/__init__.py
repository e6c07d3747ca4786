"""The only importer of openvino: converts a segment to its IR and runs that on the CPU."""
