"""From a recipe to its build folder: steps, their fingerprints, the store, the checkpoint."""
