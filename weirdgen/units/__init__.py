"""Units of work: the pieces a run consists of, each small enough to send to another machine and safe to do twice."""
