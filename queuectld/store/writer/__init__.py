"""The writer thread: its queue, its session and its cache."""
