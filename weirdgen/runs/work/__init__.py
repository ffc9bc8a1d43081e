"""During a run: units of work, small enough to send elsewhere and safe to repeat."""
