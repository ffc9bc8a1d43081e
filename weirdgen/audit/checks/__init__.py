"""Checks of training data before anything is trained: one topic per file, all of them listed in `registry.CHECKS`."""
