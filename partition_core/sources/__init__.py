"""Where a recipe's model comes from: a room for each source."""
