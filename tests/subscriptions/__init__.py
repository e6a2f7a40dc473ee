"""The subscriptions that partners create by REST."""
