"""Before a run: what is asked, resolved; what of it is missing; how long it takes. Nothing is written."""
