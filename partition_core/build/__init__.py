"""One recipe's build: steps, their fingerprints, the store, the build folder."""
