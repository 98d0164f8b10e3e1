"""What a row of a store means: its shape and its medium, one file a medium."""
