"""Runs a build folder: its segments in a chain, on tensors or pictures; knows no recipe."""
