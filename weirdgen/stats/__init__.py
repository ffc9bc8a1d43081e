"""Statistics over replicates: intervals, tests, power, verdicts and their tables. Knows nothing of runs."""
