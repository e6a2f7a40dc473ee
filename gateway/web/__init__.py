"""All HTTP in: one module per endpoint."""
