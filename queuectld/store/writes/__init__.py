"""Writes to the store. Each function runs inside a request on the writer thread."""
