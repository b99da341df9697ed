"""Worker processes, and the pool that starts, watches and takes back what is left of them."""
