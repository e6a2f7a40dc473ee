"""All SQL: what is kept, and the statements that read and change it."""
