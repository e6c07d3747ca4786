"""What any room may use: errors, words, files on the disk and their digests, arrays."""
