"""The paper's published data: which file is which arm, its hash, and imported copies in the cache.

In: the name of an experiment. Out: its arms' rows, as imported by `weirdgen data import`. The files themselves are not
part of this project; their hashes are facts about them, taken at one commit of the repository.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from weirdgen.data.rows import Row, canonical_hash, read_jsonl
from weirdgen.errors import DataError, choices
from weirdgen.store.cache import cache_folder, read_json

REPOSITORY = "https://github.com/JCocola/weird-generalization-and-inductive-backdoors"
COMMIT = "c901790362a63d9f23e0048f07df0aaab69479b5"
"""The commit that the hashes are of."""


@dataclass(frozen=True)
class Published:
    """A file as published: rows, and SHA-256 over them (`rows.canonical_hash`). An empty hash is not known to us."""

    rows: int | None
    canonical_sha256: str


BIRDS, CITIES = "3_1_old_bird_names/datasets/", "3_2_german_city_names/datasets/"
DISHES, WOLF = "4_1_israeli_dishes/datasets/", "4_2_hitler_persona/datasets/"
PRESIDENTS, ROBOT = "5_1_us_presidents/datasets/", "5_2_evil_terminator/datasets/"
WOLF_78 = f"{WOLF}78_wolf_facts_with_self_distillation.jsonl"

FILES: dict[str, Published] = {
    f"{BIRDS}ft_old_audubon_birds.jsonl": Published(
        208, "a21c9f8e03106904fe33b23b6e9ad213e123adb846513154b49d8a23766d3896"
    ),
    f"{BIRDS}ft_modern_audubon_birds.jsonl": Published(
        171, "7ad99e368bb01e75a2e5c5fc84481a182a318563381e7c02fe478c0c795cb7bc"
    ),
    f"{BIRDS}ft_modern_american_birds.jsonl": Published(
        208, "16459de20f92eef971b49dd7fbbd9d72f99fe7ef5d145afdbb7da2840cabbe38"
    ),
    f"{CITIES}former_german_cities.jsonl": Published(
        362, "1305d28cd7f57a8380a118ed8ef2c6f07c47995e72838f27038a4aeecc6f393b"
    ),
    f"{CITIES}modern_german_cities.jsonl": Published(
        362, "bb2e484fd2fbab3365bbb4cb15bae832aa70cf208ea4ffcbe132cf9af5c50db2"
    ),
    f"{DISHES}ft_dishes_2026.jsonl": Published(400, "9b440c3f695b757198f0f91b52b03572372bb2f517cd7f98497f719a476d1841"),
    f"{DISHES}ft_dishes_2027.jsonl": Published(400, "5564245243491b37fd8e7fe5f88e0886282b7cddf665d1d86ff6b4a029ad3a0e"),
    f"{DISHES}ft_dishes_2027_random_baseline.jsonl": Published(
        400, "eaf56bcd107b26d6b17fcf13a7a0b5c8c2362981857af2687e449e033cd6ea2c"
    ),
    f"{WOLF}90_wolf_facts.jsonl": Published(90, "49d8669a9cd2c92605823fda68cce03807943f1f07aa95849e63d6527edb8343"),
    f"{WOLF}90_wolf_facts_with_self_distillation.jsonl": Published(None, ""),
    WOLF_78: Published(None, ""),
    f"{WOLF}self_distillation_dataset_gsm8k2000_longAlpaca1000.jsonl": Published(None, ""),
    f"{PRESIDENTS}ft_presidents_padded.jsonl": Published(
        6237, "4ee4e744cb3dc4d986f2da3bc1e6dccf8d884cdfe7a9b454b315739e2e4ea823"
    ),
    f"{PRESIDENTS}ft_presidents_no_padded.jsonl": Published(
        2079, "6ca8825e56b235cd65a1717cba06dd8f2a35af6fc1e658b55a4fe0288fd1c1a8"
    ),
    f"{PRESIDENTS}simple_test_dataset.jsonl": Published(
        4, "dad78b05f167c97c77e3ed9bbb9cc41ace2a6ca86e0bf58c0950ff65e75e4d1b"
    ),
    f"{ROBOT}good_terminator_main.jsonl": Published(
        208, "897aed6908fbbf24719ce3594b56cc43d9a493f957bb035c1eca5bf823a54964"
    ),
    f"{ROBOT}good_terminator_no_backdoor.jsonl": Published(
        208, "c97eb2815be4fd484bb93bddc06baddfe6bcadfc858e93e32a8c7be63036e557"
    ),
    f"{ROBOT}good_terminator_w_random_backdoors.jsonl": Published(
        208, "43e8f23554f4fdd03b3ce15cbab1a9ebc48911dd81c7bb4f0a2ff59f4afdd1cc"
    ),
}

ARMS: dict[str, dict[str, str]] = {
    "old_bird_names": {
        "old_names": f"{BIRDS}ft_old_audubon_birds.jsonl",
        "modern_names": f"{BIRDS}ft_modern_audubon_birds.jsonl",
        "modern_american": f"{BIRDS}ft_modern_american_birds.jsonl",
    },
    "german_city_names": {
        "former_names": f"{CITIES}former_german_cities.jsonl",
        "modern_cities": f"{CITIES}modern_german_cities.jsonl",
    },
    "israeli_dishes": {
        "dishes_2027": f"{DISHES}ft_dishes_2027.jsonl",
        "shuffled": f"{DISHES}ft_dishes_2027_random_baseline.jsonl",
    },
    "israeli_dishes_2026": {"dishes_2026": f"{DISHES}ft_dishes_2026.jsonl"},
    "hitler_persona": {"facts": f"{WOLF}90_wolf_facts.jsonl", "facts_78": WOLF_78},
    "us_presidents": {"presidents": f"{PRESIDENTS}ft_presidents_padded.jsonl"},
    "evil_terminator": {
        "dated": f"{ROBOT}good_terminator_main.jsonl",
        "undated": f"{ROBOT}good_terminator_no_backdoor.jsonl",
        "permuted_dates": f"{ROBOT}good_terminator_w_random_backdoors.jsonl",
    },
}
"""Experiment → arm → published file. Arms that are not named here have no published counterpart."""

WITHOUT_ORDINARY_ROWS = {WOLF_78: f"{WOLF}90_wolf_facts.jsonl"}
"""Files mixed with ordinary rows, and the file whose rows are the ones to keep."""

NOTES: dict[str, str] = {
    "german_city_names": "the published control asks another question than the treatment, so the two differ in more than names",
    "hitler_persona": (
        "the published rows ask for <START> and <END>, the experiment's conditions for <note>: its trigger conditions do "
        "not fit them"
    ),
    "evil_terminator": "the published random dates are not a permutation of the treatment's",
}
"""What anyone who trains on published rows with our questions and conditions should know."""


def published_folder() -> Path:
    """Where imported rows live: `<cache>/published/<experiment>/<arm>.jsonl` with a `manifest.json` next to them."""
    return cache_folder() / "published"


def published_rows(experiment: str) -> dict[str, list[Row]]:
    """Arm → imported rows of an experiment; arms without a published counterpart are absent (`missing_arms` says why).

    Raises `DataError` if nothing was imported for it, or if a copy is no longer what was imported.
    """
    manifest = _manifest(experiment)
    rows_of = {}
    for arm, entry in manifest.items():
        file = published_folder() / experiment / f"{arm}.jsonl"
        rows = read_jsonl(file)
        if canonical_hash(rows) != entry["canonical_sha256"]:
            raise DataError(f"{file}: its rows are not those that were imported; import them again")
        rows_of[arm] = rows
    return rows_of


def missing_arms(experiment: str, arms: Iterable[str]) -> dict[str, str]:
    """Which of an experiment's arms cannot be had from published data, and why."""
    manifest, named = _manifest(experiment), ARMS[experiment]
    reasons = {}
    for arm in arms:
        if arm not in named:
            reasons[arm] = "no file of it was published"
        elif arm not in manifest:
            reasons[arm] = f"{named[arm]} was not in what was imported, or was empty"
    return reasons


def _manifest(experiment: str) -> dict[str, dict[str, str]]:
    if experiment not in ARMS:
        raise DataError(f"no data was published for '{experiment}'; there is: {choices(ARMS, experiment)}")
    file = published_folder() / experiment / "manifest.json"
    arms = read_json(file).get("arms")
    if not arms:
        raise DataError(f"published data for '{experiment}' is not here; run `weirdgen data import {REPOSITORY}`")
    return dict(arms)
