"""After a run: tables, estimates, the report's content, and every number computed again."""
