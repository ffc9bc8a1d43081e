"""Experiments as tasks of Inspect AI, and finished runs as its logs."""
