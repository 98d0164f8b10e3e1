"""Walks through and inversion into the latent space."""
