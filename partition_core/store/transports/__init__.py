"""Ways to a shared store: HTTP, a folder, object storage."""
