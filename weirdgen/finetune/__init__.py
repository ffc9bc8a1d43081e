"""From rows and a recipe to one standard PEFT adapter per replicate and checkpoint."""
