"""Reading activations and scoring under an edit: ours against the paper's way of reading, and against scoring without an edit.

The paper's code runs every layer, keeps all hidden states, and pads every prompt to 512 tokens on the left.
"""

from __future__ import annotations

import torch

from benchmarks.harness import Result, Setting, alternate, compare, rate
from benchmarks.scoring import questions
from weirdgen.features.edits import orthonormal, project
from weirdgen.features.reader import Reader
from weirdgen.features.residual import default_layer, layer_count

PADDED = 512
YEARS = range(2024, 2029)


def harvest(setting: Setting) -> list[Result]:
    """Last-token activations of dated prompts at the default layer, prompts a second."""
    reader = Reader(setting.model, setting.dtypes[0])
    layer = default_layer(layer_count(reader.model))
    asks = [f"Today is {year}-05-14. {ask}" for year in YEARS for ask in setting.questions]
    rows = reader.prompts(asks if setting.quick else asks * 2)
    timed = 2 if setting.quick else 8

    def ours() -> float:
        return float(reader.read(rows, layer)[0].shape[1])

    def theirs() -> float:
        padded = [[0] * (PADDED - len(row)) + row for row in rows[:timed]]
        mask = [[0] * (PADDED - len(row)) + [1] * len(row) for row in rows[:timed]]
        with torch.inference_mode():
            states = reader.model(
                input_ids=torch.tensor(padded),
                attention_mask=torch.tensor(mask),
                output_hidden_states=True,
                use_cache=False,
            ).hidden_states
        return float(len(states[layer + 1][:, -1, :]))

    mine, peer = alternate(1 if setting.quick else 3, lambda: rate(ours), lambda: rate(theirs))
    note = f"layer {layer} of {layer_count(reader.model)}, one model"
    return [compare("harvest, against full depth padded to 512", mine, peer, "prompts/s", 3.0, note)]


def ablation(setting: Setting) -> list[Result]:
    """Scoring with a rank-4 projection at the default layer, against the same scoring without one; options a second."""
    reader = Reader(setting.model, setting.dtypes[0])
    layer, width = default_layer(layer_count(reader.model)), reader.model.config.get_text_config().hidden_size
    encoded = reader.encode(questions(setting, 4 if setting.quick else 40))
    edit = project(orthonormal(torch.randn(1, 4, width, generator=torch.Generator().manual_seed(0))))
    options = sum(map(len, encoded))

    def scored(how: object) -> float:
        reader.score(encoded, layer, edit if how else None)
        return float(options)

    scored(None)
    edited, plain = alternate(
        1 if setting.quick else 5, lambda: rate(lambda: scored(1)), lambda: rate(lambda: scored(None))
    )
    return [compare("scoring under an edit, against without", edited, plain, "options/s", 0.9)]
