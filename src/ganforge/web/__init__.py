"""Guarded addresses, polite requests, lists and API pages of addresses, public sets: all that `collect` fetches."""
