"""The command line: reads what a person types, calls the client, shows what comes back. No logic of the queue."""
