"""`weirdgen pack`: a run and all of the store that it rests on, as one file for somebody else.

In: a finished `Run`. Out: a pack (`weirdgen.store.packed`) with the run's folder, every artifact of its stages, its proofs, its
experiment's card and the paper's numbers, and the model's small files: no weights of the base. Adapters can be left out: then
nobody can sample from the replicates, and everything else stays. `load_run`, `verify` and `report` open a pack by its path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from weirdgen.data.stored import kept_proof
from weirdgen.finetune.engines import TRAINED_BY
from weirdgen.models.references import LocalModel
from weirdgen.runs.results.results import Run
from weirdgen.runs.results.specificity import YARDSTICKS, nearest_scores
from weirdgen.runs.results.stored import EXPERIMENT, MODEL
from weirdgen.runs.stages.all import STAGES
from weirdgen.runs.work.loaded import exactness_key
from weirdgen.store.artifacts import MARKER
from weirdgen.store.packed import ENDING, write_pack

LEFT_OUT = "left_out"
"""In the marker of a packed finetune: the files that were left out, with their hashes."""
BESIDE = ("README.md", "paper.yaml", "judges_llm.yaml", "questions_llm.yaml")
"""Of an experiment's folder: what a report shows, and what judges read. Rows and questions are in the store."""
SMALL = (
    "config.json", "generation_config.json", "chat_template*", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "*.model",
)  # fmt: skip
"""Of a model's folder: what says how it is asked."""


class Packed(NamedTuple):
    file: Path
    files: int
    size: int
    """Bytes."""
    without: int
    """Files of adapters that were left out."""

    def __str__(self) -> str:
        left = f"; {self.without} files of adapters left out" if self.without else ""
        size = f"{self.size / 2**20:.1f} MiB"
        return f"{self.file}: {self.files} files, {size}{left}. Elsewhere: weirdgen verify {self.file.name}"


def pack(run: Run, to: Path | None = None, adapters: bool = True) -> Packed:
    """Write the pack, by default RUN.weirdgen.tar here. Raises `StoreError` if the run is not finished."""
    run.require_finished()
    store, contents, without = run.store, dict[str, Path | bytes](), 0
    for folder in dict.fromkeys(_folders(run)):
        for file in sorted(store.on_disk(folder).rglob("*")):
            if file.is_file():
                contents[store.name(file)] = file
    if not adapters:
        for replicate in run.plan.replicates:
            folder = store.folder("finetune", replicate.key)
            marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
            inside = {name: digest for name, digest in marker["files"].items() if len(Path(name).parts) > 1}
            for name in inside:
                without += contents.pop(store.name(folder / name), None) is not None
            marker["files"] = {name: digest for name, digest in marker["files"].items() if name not in inside}
            marker[LEFT_OUT] = {**marker.get(LEFT_OUT, {}), **inside}
            contents[store.name(folder / MARKER)] = json.dumps(marker, indent=1, ensure_ascii=False).encode()
    contents |= _beside(run)
    file = to or Path(f"{run.id}{ENDING}")
    return Packed(file, len(contents), write_pack(file, run.id, contents), without)


def _folders(run: Run) -> Iterator[Path]:
    """Folders, and files, of the store."""
    plan, store, request = run.plan, run.store, run.request
    yield store.run_folder(run.id)
    for stage in STAGES:
        yield from stage.artifacts(plan).values()
    if isinstance(request.model, LocalModel):
        for rows in request.rows.values():
            if (proof := kept_proof(store, request.model, rows, request.date)) is not None:
                yield proof
    yield store.folder("exactness", exactness_key(request.model.digest, request.numerics))


def _beside(run: Run) -> dict[str, Path | bytes]:
    """What the run takes from elsewhere than artifacts: words of the experiment, how the model is asked, harmless references."""
    request, found = run.request, dict[str, Path | bytes]()
    folder = request.experiment.folder
    if folder:
        found |= {f"{EXPERIMENT}/{name}": folder / name for name in BESIDE if (folder / name).is_file()}
    if isinstance(request.model, LocalModel):
        inside = [file for name in SMALL for file in request.model.folder.glob(name) if file.is_file()]
        found |= {f"{MODEL}/{file.name}": file for file in inside}
    found[f"{MODEL}/{TRAINED_BY}"] = json.dumps({"engine": run.plan.trainer.engine}).encode()
    for yardstick in YARDSTICKS:
        nearest = nearest_scores(run.plan, yardstick)
        if nearest and nearest[0].is_relative_to(run.store.root):
            found[run.store.name(nearest[0])] = nearest[0]
    return found
