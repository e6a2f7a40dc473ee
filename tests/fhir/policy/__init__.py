"""Policy packs: what is in those that the gateway brings, and what is said of one that cannot be used."""
