"""The one way out: what an address may be, what comes of a call, TLS and credentials, over real sockets."""
