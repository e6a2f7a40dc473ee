"""Replays, on real databases."""
