"""Folders, archives and binary files read as pictures."""
