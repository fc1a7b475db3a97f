"""Channels of a network: which belong together, and networks without some of them."""
