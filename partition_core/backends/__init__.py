"""What runs a segment: a room for each runtime."""
