"""The stages of a run, one object each, in one list that planning, running and `verify` loop over."""
