"""From answers to verdicts: judges that ask no model, judges that ask one, and how far each can be believed."""
