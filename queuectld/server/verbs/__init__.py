"""Request handlers, one module per noun. A handler calls one service method and encodes the result."""

