"""Tables, schema, rows and connections: how the store's content is laid out, and nothing of what is done with it."""
