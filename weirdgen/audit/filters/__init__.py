"""Row filters as a defender would use them, and what they find of an experiment's rows hidden among ordinary ones."""
