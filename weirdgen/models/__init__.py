"""From a model reference to weights, a tokenizer and a chat template."""
