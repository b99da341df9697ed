"""What changes the store: each function runs inside a request of the writing thread."""
