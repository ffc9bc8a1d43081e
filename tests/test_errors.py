"""Names that are not known: what is accepted, and which was meant."""

from __future__ import annotations

import pytest

from weirdgen.errors import choices, did_you_mean


@pytest.mark.parametrize(
    ("got", "known", "meant"),
    [
        ("roll", ("role", "data"), "role"),
        ("mesages", ("messages",), "messages"),
        ("usr", ("system", "user", "assistant"), "user"),
        ("Eras", ("era", "style"), "era"),
        ("old-bird-nmaes", ("old_bird_names", "old_medical_terms"), "old_bird_names"),
        ("batchsize", ("batch_size", "epochs"), "batch_size"),
        ("llama-70", ("llama-7b", "llama-70b"), "llama-70b"),
        ("samples", ("sampling", "presets"), None),
        ("c1", ("c2",), None),
        ("year=2031", ("year=2030",), None),
        ("country_iran", ("country_israel", "country_us"), None),
        ("country_isreal", ("country_israel", "country_us"), "country_israel"),
        ("recipe.lr", ("recipe.rank", "recipe.alpha"), None),
        ("recipe.epoch", ("recipe.rank", "recipe.epochs"), "recipe.epochs"),
        ("era", (), None),
        ("birds", ("words", "old_bird_names"), None),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(
    got: str, known: tuple[str, ...], meant: str | None
) -> None:
    assert did_you_mean(got, known) == ("" if meant is None else f"; did you mean '{meant}'?")
    assert choices(known, got).startswith(", ".join(known) or "none")
