"""Shared by the daemon and the workers: their wire format, the files of a worker, and access to /proc."""
