"""The stages of a run, each one object, in one list: plan, pipeline, `verify` and export loop over it."""
