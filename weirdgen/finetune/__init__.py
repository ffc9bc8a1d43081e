"""From rows and a recipe to a standard PEFT adapter per replicate and checkpoint."""
