"""Journeys: a whole gateway, real sockets, and what a partner sees."""
