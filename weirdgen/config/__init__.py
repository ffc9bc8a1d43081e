"""What is asked: the nouns of an experiment, their YAML files, and every error with its file and line."""
