"""From rows and a recipe to one standard PEFT adapter a replicate and checkpoint."""
