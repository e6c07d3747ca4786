"""What runs a segment, a room for each: `backend.py` has the shape of all, and the table."""
