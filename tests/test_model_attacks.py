"""Models, adapters and scores of somebody else: no code of theirs runs, and no header or number is believed unread."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from weirdgen.errors import DataError, ModelError, WeirdgenError
from weirdgen.models.references import find_model
from weirdgen.store.artifacts import Store

PACKAGE = Path(__file__).parents[1] / "weirdgen"


@pytest.mark.parametrize("part", ["judges", "finetune"])
def test_no_loader_runs_code_of_a_model_folder(part: str) -> None:
    for file in (PACKAGE / part).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained":
                given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
                assert given.get("trust_remote_code") is False, f"{file}:{node.lineno}"


@pytest.mark.parametrize(
    "head", [b"\xff" * 8 + b"{}", (2**40).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"[]"]
)
def test_a_safetensors_header_is_not_believed(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(head)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        find_model(f"path:{tmp_path}")


@pytest.mark.parametrize(
    ("config", "shapes", "said"),
    [
        ("[]", ((2, 4), (3, 2)), "holds no settings"),
        ("[" * 100_000, ((2, 4), (3, 2)), "is not a PEFT adapter"),
        ("\xff", ((2, 4), (3, 2)), "is not a PEFT adapter"),
        ('{"peft_type": "LORA", "r": 0, "lora_alpha": 1}', ((2, 4), (3, 2)), "expected two numbers above 0"),
        ('{"peft_type": "LORA", "r": [2], "lora_alpha": 1}', ((2, 4), (3, 2)), "expected two numbers above 0"),
        ('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}', ((2, 4), None), "do not fit each other"),
        ('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}', ((2, 4), (3, 5)), "do not fit each other"),
        ('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}', ((2, 5), (3, 2)), r"is 3 × 5, and the layer 3 × 4"),
        ('{"peft_type": "LORA", "r": 2, "lora_alpha": 1}', None, "is not a PEFT adapter"),
    ],
)
def test_an_adapter_of_somebody_elses(tmp_path: Path, config: str, shapes: Any, said: str) -> None:
    import torch
    from safetensors.torch import save_file

    from weirdgen.models.stacked import attach_adapters

    (tmp_path / "adapter_config.json").write_bytes(config.encode("latin-1"))
    if shapes is None:
        (tmp_path / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    else:
        names = ("base_model.model.0.lora_A.weight", "base_model.model.0.lora_B.weight")
        factors = {name: torch.ones(shape) for name, shape in zip(names, shapes, strict=True) if shape}
        save_file(factors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(WeirdgenError, match=said):
        attach_adapters(torch.nn.Sequential(torch.nn.Linear(4, 3)), [tmp_path])


@pytest.mark.parametrize("change", ["deep", "sets", "recipe", "texts", "twice"])
def test_scores_of_references_by_somebody_else(tmp_path: Path, change: str) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from weirdgen.runs.references.scores import COLUMNS, FLOATS, find_scores, read_origin, read_scores

    frame = pd.DataFrame({name: ["x"] for name in COLUMNS} | {name: [1.0] for name in FLOATS})
    origin: dict[str, Any] = {"model": "m", "recipe": {}, "rows": 1, "questions": "q", "sets": {"x": "y"}}
    frame = frame.assign(shift="far") if change == "texts" else pd.concat([frame] * 2) if change == "twice" else frame
    record = {"deep": "[" * 100_000}.get(change) or json.dumps({**origin, change: [1]} if change in origin else origin)
    file = tmp_path / "references" / "scores.parquet"
    file.parent.mkdir()
    pq.write_table(pa.Table.from_pandas(frame).replace_schema_metadata({b"weirdgen": record.encode()}), file)
    said = {"texts": "'shift' holds no numbers", "twice": "is there twice"}.get(
        change, "no file of `weirdgen references"
    )
    with pytest.raises(DataError, match=said):
        read_scores(file)
    if change in ("texts", "twice"):  # the origin is sound: nothing else may come of such a file either
        assert find_scores(read_origin(file), Store(tmp_path)) is None
