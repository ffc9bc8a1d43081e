"""From answers and scores to numbers: contrast questions and judges."""
