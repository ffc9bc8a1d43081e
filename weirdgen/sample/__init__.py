"""Answers and scores from models: the engine protocol and the engines."""
