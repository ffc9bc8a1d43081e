"""Experiments as frozen models, their YAML files, and errors with file and line."""
