"""When a job runs, and what becomes of it."""
