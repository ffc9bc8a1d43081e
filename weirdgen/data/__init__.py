"""Training rows: reading, building, hashing and proving them."""
