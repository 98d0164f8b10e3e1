"""Pictures to pictures: files through a system that has `restore`."""
