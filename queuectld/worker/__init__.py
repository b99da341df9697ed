"""The worker process: it runs one job at a time and outlives the daemon. The daemon imports nothing of it."""
