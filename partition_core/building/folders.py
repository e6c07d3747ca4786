"""The folders of a project, by name."""

RECIPES = "recipes"
BUILD = "build"
STATE = f"{BUILD}/.partition"
"""What only saves time: everything in it may be deleted at any moment."""
