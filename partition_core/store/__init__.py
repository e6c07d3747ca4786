"""Results of steps by key and files by digest: on this machine, and shared with others."""
