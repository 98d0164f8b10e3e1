"""Changes of batches of pictures, each picture by numbers of its own: augmentations, warps, degradations."""
