"""Changes of batches of pictures, each by numbers of its own: augmentations, warps."""
