"""The domain: jobs, their states and rules. Pure: no clock, no I/O, no store."""
