"""From the end2end model to segments: graphs in, graphs out. Imports neither torch nor doit."""
