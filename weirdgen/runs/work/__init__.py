"""During a run: units of work, each small enough to send to another machine and safe to do twice."""
