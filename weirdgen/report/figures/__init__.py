"""One figure per file, each from the tables of a run."""
