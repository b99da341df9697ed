"""One file per noun; a handler decodes, calls one function of the service and encodes."""
