"""The folders of a project and the files in them that everyone knows, by name."""

RECIPES = "recipes"
SETTINGS = "partition.toml"
BUILD = "build"
MANIFEST = "manifest.json"
REPORT = "report.html"
STATE = f"{BUILD}/.partition"
"""What only saves time: everything in it may be deleted at any moment."""
