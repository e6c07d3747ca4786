"""The pieces of a model as values: the manifest, what flows between segments, its checks."""
