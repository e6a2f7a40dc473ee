"""The rules that several events share: what follows from a change of an order, whose it is, what is asked about it.

None of these has an event of its own; the handlers beside this package call them, and `orders.follow` lets happen what
follows from a change, whichever event brought it.
"""
