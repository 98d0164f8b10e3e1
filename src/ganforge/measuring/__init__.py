"""Numbers for samples."""
