"""Runtimes for segments, a package each; `backend.py` has their interface and table."""
