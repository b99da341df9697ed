"""All that a person reads: text, tables, a job's output, hints."""
