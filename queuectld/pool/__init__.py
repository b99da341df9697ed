"""The daemon's side of its workers: it starts them, watches them, hands them jobs, and recovers what they leave."""
