"""The folders of a project and the file of its settings, by name."""

RECIPES = "recipes"
SETTINGS = "partition.toml"
BUILD = "build"
STATE = f"{BUILD}/.partition"
"""What only saves time: everything in it may be deleted at any moment."""
