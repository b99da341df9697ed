"""What a person types becomes a job: options, JSON, files, arrays, durations, times."""
