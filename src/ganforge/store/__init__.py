"""A prepared data set on disk, and what is kept beside it."""
