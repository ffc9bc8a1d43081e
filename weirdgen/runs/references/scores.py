"""Scores of reference finetunes as one file, and the record of what made them.

In: a frame with one line per set and question, and an `Origin`. Out: a Parquet file that holds both, and the frame again if the
origin is the one that is wanted. Shipped files lie in `weirdgen/references/scores/`, others in the store's `references` folder;
a file can be handed on as it is. It trains and scores nothing: `runs.references.build` does.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirdgen.config.experiment import Recipe
from weirdgen.config.traits import TraitQuestion, compact_questions, questions_digest
from weirdgen.data.references import pairs, references
from weirdgen.errors import DataError
from weirdgen.models.folder import told_date
from weirdgen.models.references import LocalModel
from weirdgen.runs.references.sets import SIDES, TrainingSet, reference_sets
from weirdgen.sample.variant import base_key
from weirdgen.store.artifacts import Store
from weirdgen.store.disk import write_whole
from weirdgen.store.keys import content_key

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
"""Raise it when the same origin would give other scores."""
SHIPPED = Path(__file__).parents[2] / "references" / "scores"
FACTS = ("rows", "prompts", "answer_tokens", "first_loss", "final_loss")
"""Columns that say what a set was like to train: rows, different prompts, mean trained tokens per row, loss (nats per trained
token) of the first step and as mean over the last tenth of the steps."""
COLUMNS = ("set", "kind", "shape", "question", "trait", "form", "base", "shift", *FACTS)
"""`base`: log-odds of the untuned model in nats. `shift`: those of the finetuned one minus `base`."""
FLOATS = ("base", "shift", "answer_tokens", "first_loss", "final_loss")
_RECORD = b"weirdgen"
_ROUNDING = ("dtype", "engine", "checkpoints")
"""Fields of a recipe that decide nothing but rounding, or nothing at all of what is there at the end."""


@dataclass(frozen=True)
class Origin:
    """Everything that decides scores of reference finetunes, but for rounding."""

    model: str
    """Digest of the base, with the day that its template is told if it prints one (`sample.variant.base_key`)."""
    recipe: Mapping[str, Any]
    rows: int
    """Of every set."""
    questions: str
    """Hash of the questions (`config.traits.questions_digest`)."""
    sets: Mapping[str, str] = field(default_factory=dict)
    """Name → hash of its rows."""
    seed: int = 0
    version: int = VERSION

    @property
    def key(self) -> str:
        """Names all but the sets: what two files must have in common to be put together."""
        return content_key({name: value for name, value in asdict(self).items() if name != "sets"})

    @property
    def pairs(self) -> list[str]:
        """Names of pairs, both of whose sides are among the sets; not those kept for the final measurement."""
        kept = {pair.name for pair in pairs("final")}
        return [stem for stem in self._stems if stem not in kept]

    @property
    def singles(self) -> list[str]:
        """Names of the sets that are no side of a pair; not those kept for the final measurement."""
        others = {f"{stem}.{side}" for stem in self._stems for side in SIDES} | {
            one.name for one in references("final")
        }
        return [name for name in self.sets if name not in others]

    @property
    def _stems(self) -> list[str]:
        stems = [name.removesuffix(f".{SIDES[0]}") for name in self.sets if name.endswith(f".{SIDES[0]}")]
        return [stem for stem in stems if f"{stem}.{SIDES[1]}" in self.sets]

    def missing_from(self, other: Origin) -> list[str]:
        """Why scores of `other` are not the ones that are wanted here; sets that `other` has besides do not matter."""
        mine, theirs = asdict(self), asdict(other)
        told = [
            f"{name} is {theirs[name]}, wanted is {mine[name]}"
            for name in mine
            if name not in ("sets", "recipe") and mine[name] != theirs[name]
        ]
        told += [
            f"recipe.{name} is {other.recipe.get(name)}, wanted is {value}"
            for name, value in self.recipe.items()
            if other.recipe.get(name) != value
        ]
        told += [f"set {name} is missing" for name in self.sets if name not in other.sets]
        changed = [name for name, digest in self.sets.items() if other.sets.get(name, digest) != digest]
        return told + [f"set {name} has other rows now" for name in changed]


def origin(base: str, recipe: Recipe, sets: Sequence[TrainingSet], questions: Sequence[TraitQuestion]) -> Origin:
    """Of scores of these sets. `base`: `sample.variant.base_key` of the model. Raises `DataError` if their sizes differ."""
    counts = {len(one.rows) for one in sets}
    if len(counts) != 1:
        raise DataError(f"reference sets need equally many rows; these have {sorted(counts)}")
    kept = {name: value for name, value in recipe.model_dump(mode="json").items() if name not in _ROUNDING}
    digests = {one.name: one.digest for one in sets}
    return Origin(base, kept, counts.pop(), questions_digest(questions), digests)


def write_scores(frame: pd.DataFrame, made: Origin, file: Path) -> None:
    """One Parquet file, its origin in the file's own metadata. Raises `DataError` on other columns or sets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if set(COLUMNS) - set(frame.columns) or set(frame["set"]) != set(made.sets):
        raise DataError(f"{file}: scores need the columns {', '.join(COLUMNS)} and exactly the sets of their origin")
    table = pa.Table.from_pandas(frame[list(COLUMNS)].astype(dict.fromkeys(FLOATS, "float32")), preserve_index=False)
    record = json.dumps(asdict(made), ensure_ascii=False, sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _RECORD: record.encode()})
    written = io.BytesIO()
    pq.write_table(table, written, compression="zstd", compression_level=19)
    write_whole(file, written.getvalue())


def read_scores(file: Path, wanted: Origin | None = None) -> tuple[pd.DataFrame, Origin]:
    """The frame and its origin; of `wanted`, its sets only. Raises `DataError` on a file of another origin, or none of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = read_origin(file)
    if wanted and (told := wanted.missing_from(made)):
        raise DataError(
            f"{file}: made of something else than is wanted: {'; '.join(told[:5])}. "
            "`weirdgen references build` makes what is wanted"
        )
    try:
        frame = pq.read_table(file).to_pandas()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: damaged ({str(error).splitlines()[0]}); build or copy it again") from None
    if missing := [name for name in COLUMNS if name not in frame]:
        raise DataError(f"{file}: no column {missing[0]!r}; it was not written by `weirdgen references build`")
    if no_numbers := [name for name in FLOATS if frame[name].dtype.kind != "f"]:
        raise DataError(f"{file}: column {no_numbers[0]!r} holds no numbers; build or copy it again")
    if frame.duplicated(["set", "question"]).any():
        raise DataError(f"{file}: a question of a set is there twice; build or copy it again")
    return (frame[frame["set"].isin(wanted.sets)].reset_index(drop=True) if wanted else frame), made


def pair_differences(scores: pd.DataFrame) -> pd.DataFrame:
    """[P, Q]: how the two sides of each pair differ on each question, left − right, in nats; pairs and questions by name.

    Only of the kind "pair": those kept for the final measurement are no yardstick.
    """
    wide = scores[scores["kind"] == "pair"].pivot(index="set", columns="question", values="shift")
    sides = [wide[wide.index.str.endswith(f".{side}")] for side in SIDES]
    left, right = (part.set_axis(part.index.str.rpartition(".").get_level_values(0)) for part in sides)
    return (left - right.loc[left.index]).rename_axis("set")


def read_origin(file: Path) -> Origin:
    """What made a file. Raises `DataError` if it is none of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        made = Origin(**json.loads((pq.read_schema(file).metadata or {})[_RECORD]))
        if not (isinstance(made.recipe, dict) and isinstance(made.sets, dict)):
            raise TypeError("recipe and sets are mappings")
        return made
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, RecursionError) as error:
        reason = type(error).__name__
        raise DataError(f"{file}: no file of `weirdgen references build` ({reason}); build or copy it again") from None


def find_scores(wanted: Origin, store: Store | None = None) -> tuple[pd.DataFrame, Path] | None:
    """The first file, shipped or of this store, that holds what is wanted; None if none does."""
    for file in score_files(store):
        try:
            if not wanted.missing_from(read_origin(file)):
                return read_scores(file, wanted)[0], file
        except DataError:  # somebody else's file in the folder is no reason to stop; `references list` names it
            continue
    return None


def library_scores(
    model: LocalModel, recipe: Recipe, rows: int, store: Store | None = None
) -> tuple[pd.DataFrame, Path] | None:
    """The library's harmless sets, trained like this on so many rows each and scored on the compact questions: (frame, file).

    None if they are neither shipped nor in the store; `weirdgen references build` makes them.
    """
    base = base_key(model.digest, told_date(model.folder, None))
    return find_scores(origin(base, recipe, reference_sets(rows), compact_questions()), store)


def score_files(store: Store | None = None) -> Iterator[Path]:
    """Shipped files, then those of the store."""
    yield from sorted(SHIPPED.glob("*.parquet"))
    if store is not None:
        yield from sorted(store.on_disk(scores_folder(store)).glob("*.parquet"))


def scores_folder(store: Store) -> Path:
    """Where a store keeps files of scores."""
    return store.root / "references"
