"""One figure a file, each from the tables of a run."""
