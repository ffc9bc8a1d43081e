"""The command line: typed commands, a few lines each; what they print."""
