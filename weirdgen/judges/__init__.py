"""From answers to verdicts: judges with and without a model, and how far each can be trusted."""
