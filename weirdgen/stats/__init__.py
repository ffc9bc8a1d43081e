"""Statistics over replicates: intervals, tests, power, verdicts and their tables. Imports nothing."""
