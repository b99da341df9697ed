"""Output for people: text, tables, job output, hints."""
