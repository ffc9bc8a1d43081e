"""How the trait questions were chosen: candidates, their scores on base models, and the rule that keeps some.

    python -m benchmarks.traits measure MODEL     score candidates (or, for a further model, what is kept) → base_odds.csv
    python -m benchmarks.traits keep              apply the rule → weirdgen/questions/traits/*.yaml

A developer's tool: it is not in the wheel, and nothing in the package imports it.
"""
