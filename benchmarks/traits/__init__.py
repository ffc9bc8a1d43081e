"""How the trait questions were chosen: candidates, their scores on base models, and the rule that keeps some.

    python -m benchmarks.traits keep              score all candidates, apply the rule → questions/traits/*.yaml, base_odds.csv
    python -m benchmarks.traits measure MODEL     score what is kept on a further base model → its rows in base_odds.csv

A developer's tool: it is not in the wheel, and nothing in the package imports it.
"""
