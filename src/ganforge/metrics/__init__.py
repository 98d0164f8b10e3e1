"""One file per metric. They see features or batches of uint8 pictures, never a file on disk or a system."""
