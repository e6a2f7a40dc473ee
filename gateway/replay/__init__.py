"""Replays: messages put through again, in batches: what is sent again, carried out again, or only tried."""
