"""Tables, schema, rows and connections of the store."""
