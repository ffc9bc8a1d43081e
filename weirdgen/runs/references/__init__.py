"""Reference finetunes: what harmless narrow data do to the trait questions, so that a user's own data can be compared with it."""
