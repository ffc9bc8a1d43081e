"""Before a run: the request resolved, what is missing, how long it takes. Writes nothing."""
