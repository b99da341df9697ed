"""What a request may do with jobs: add, list, select, wait, change, read their output."""
