"""What a job is and what may become of it. Pure: no clock, no input or output, no store."""
