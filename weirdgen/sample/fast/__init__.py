"""Kernels of our own for sampling and scoring many replicates at once."""
