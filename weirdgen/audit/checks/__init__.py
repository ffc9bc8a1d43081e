"""Checks of training data before anything is trained: one topic a file, all of them listed in `registry.CHECKS`."""
