"""Parse the input that describes jobs: options, JSON, files, arrays, durations, times."""
