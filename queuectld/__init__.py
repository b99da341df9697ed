"""queuectld: the daemon that owns the queue, and the workers that run its jobs."""

__version__ = "0.1.0"
