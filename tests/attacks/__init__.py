"""The published lists of attacks on parsers, as data: each case by its published name."""
