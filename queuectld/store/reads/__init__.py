"""What is asked of the store, on a connection that only reads."""
