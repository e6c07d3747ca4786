"""The proof that the segments, the end2end model and the original agree."""
