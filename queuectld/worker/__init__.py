"""The worker process: it runs one job at a time and outlives the daemon, which imports none of these modules."""
