"""Where a segment goes wrong: the first tensor that differs, and the least that shows it."""
