"""The writing thread: its queue, its session, and what it knows without asking the store."""
