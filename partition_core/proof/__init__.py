"""Is the chain the whole? That segments, the end2end model and the original agree."""
