"""Deliveries: to real receivers over sockets, whatever these answer."""
