"""Runs a build folder: its segments in a chain, on tensors or on pictures; knows no recipe."""
