"""Data on disk: sources, decoding, the store, the stream. No file here knows of a network."""
