"""Reads of the store, on a read-only connection."""
