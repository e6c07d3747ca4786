"""A build folder in use: its segments in a chain, on tensors or pictures; knows no recipe."""
