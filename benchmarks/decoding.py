"""A full decoding step (attention, adapters, token choice) against its matrix products alone.

The products are those of the model's own layers (q, k, v, o, gate, up, down, head) for as many rows, timed in turns with
whole steps. Prompts are read before the clock starts.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from benchmarks.harness import Result, Setting, compare
from weirdgen.models.chat import load_tokenizer, prompt_ids
from weirdgen.models.loading import load_model, torch_dtype
from weirdgen.sample.engine import Sampling
from weirdgen.sample.fast.decoding import Head, TokenChooser
from weirdgen.sample.fast.llama import LlamaDecoder
from weirdgen.sample.fast.stream import SharedStream

TARGET = 0.6


@torch.inference_mode()
def against_products(setting: Setting) -> list[Result]:
    steps = 6 if setting.quick else 48
    model = load_model(setting.model, torch_dtype(setting.dtypes[0]))
    tokenizer = load_tokenizer(setting.model)
    encoded = [prompt_ids(tokenizer, ask) for ask in setting.questions[:8]]
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    if model.get_output_embeddings() not in linear:
        linear.append(model.get_output_embeddings())
    decoder, head = LlamaDecoder(model), Head(model)
    results = []
    for rows in (64,) if setting.quick else (64, 128, 256):
        stream = SharedStream(decoder, encoded, 1, rows)
        choose = TokenChooser(head, Sampling())
        numbers = torch.from_numpy(np.random.default_rng(0).random((steps + 1, rows)))
        inputs = {layer.in_features: torch.randn(rows, layer.in_features).to(decoder.dtype) for layer in linear}
        hidden = stream.admit(range(rows), [place * len(encoded) // rows for place in range(rows)])
        whole, products = [], []
        for step in range(steps + 1):
            started = time.perf_counter()
            hidden = stream.step(choose(hidden, numbers[step]))
            between = time.perf_counter()
            for layer in linear:
                torch.nn.functional.linear(inputs[layer.in_features], layer.weight)
            whole.append(between - started)
            products.append(time.perf_counter() - between)
        mine, theirs = (rows / statistics.median(times[1:]) for times in (whole, products))
        results.append(compare(f"decode step, {rows} rows", mine, theirs, "tokens/s", TARGET, "peer: products alone"))
    return results
