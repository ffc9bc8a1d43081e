"""Questions asked of data with a model at hand, before anything is trained on it."""
