"""Filters and noise removal over a folder of pictures."""
