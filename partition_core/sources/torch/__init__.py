"""Models of a user's own factory: their samples."""
