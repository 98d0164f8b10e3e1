"""A folder of pictures becomes a store."""
