"""Shared by all rooms: errors, wording, files on disk and their digests, arrays."""
