"""Contrast questions: ours (shared prompts, packed options, replicates together) against one forward pass an option, and
against the matrix products that its tokens need.

The peer of the first is a peft model on the fastest dtype; an option's speed does not change from question to question, so it is
timed on fewer of them. The products are those of the model's own layers for every token of the questions' trees, and of the head
where an answer's token is predicted; adapters, attention, norms and what is padded are ours alone.
"""

from __future__ import annotations

from typing import Any

from benchmarks.harness import Result, Setting, alternate, compare, random_adapters, rate
from weirdgen.config.traits import compact_questions
from weirdgen.models.chat import Encoded, answer_ids, common_prefix, prompt_ids
from weirdgen.models.loading import load_model, torch_dtype
from weirdgen.runs.references.build import in_passes
from weirdgen.sample.engine import Scorable
from weirdgen.sample.fast.scoring import PASS_TOKENS, trees
from weirdgen.sample.transformers import TransformersEngine

REPLICATES = 6


def questions(setting: Setting, count: int) -> list[Scorable]:
    """Different questions with the setting's options."""
    asks = setting.questions
    return [
        Scorable(str(i), " ".join([asks[i % len(asks)]] * (1 + i // len(asks) % 3)), setting.options)
        for i in range(count)
    ]


def against_single_passes(setting: Setting) -> list[Result]:
    count, timed, rounds, replicates = (8, 1, 1, 2) if setting.quick else (100, 3, 2, REPLICATES)
    adapters = random_adapters(setting.model, replicates, setting.scratch)
    engine = TransformersEngine(setting.model, setting.dtypes[0])
    engine.use(list(adapters))
    asked = questions(setting, count)

    def ours() -> float:
        return float(len(list(engine.score(asked))))

    def theirs(model: Any) -> float:
        import torch

        done = 0
        for question in asked[:timed]:
            prompt = prompt_ids(engine.tokenizer, question.ask)
            for option in question.options:
                answer = answer_ids(engine.tokenizer, question.ask, option)
                with torch.inference_mode():
                    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].float()
                logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum().item()
                done += 1
        return float(done)

    from peft import PeftModel

    models = {
        dtype: PeftModel.from_pretrained(load_model(setting.model, torch_dtype(dtype)), str(adapters[0])).eval()
        for dtype in setting.dtypes
    }
    list(engine.score(asked[:1]))
    found = alternate(
        rounds,
        lambda: rate(ours),
        *(lambda model=model: rate(lambda: theirs(model)) for model in models.values()),
    )
    peers = dict(zip(setting.dtypes, found[1:], strict=True))
    note = "peer by dtype: " + ", ".join(f"{dtype} {speed:.1f}" for dtype, speed in peers.items())
    return [compare("contrast against one pass an option", found[0], max(peers.values()), "options/s", 5.0, note)]


def against_products(setting: Setting) -> list[Result]:
    """Trait questions as reference finetunes are asked them, many adapters in a pass."""
    import torch

    count, rounds, variants = (8, 1, 2) if setting.quick else (96, 3, 16)
    engine = TransformersEngine(setting.model, setting.dtypes[0])
    engine.use(list(random_adapters(setting.model, variants, setting.scratch)))
    traits = compact_questions()[:: max(1, len(compact_questions()) // count)]
    asked = in_passes([Scorable(one.id, one.ask, one.options) for one in traits], engine.tokenizer)

    def row(ask: str, option: str) -> Encoded:
        prompt, answer = prompt_ids(engine.tokenizer, ask), answer_ids(engine.tokenizer, ask, option)
        return Encoded((*prompt, *answer), (*(False for _ in prompt), *(True for _ in answer)))

    rows = [[row(question.ask, option) for option in question.options] for question in asked]
    shared = common_prefix([one.ids for options in rows for one in options])
    tokens, predicted = 0, 0
    for options in rows:
        batch = trees([options])
        tokens += variants * (batch.input_ids.numel() - shared)
        predicted += variants * len(torch.unique(batch.source_M))
    model = load_model(setting.model, torch_dtype(setting.dtypes[0]))
    head = model.get_output_embeddings()
    linear = [one for one in model.modules() if isinstance(one, torch.nn.Linear) and one is not head]
    inputs = {
        one.in_features: torch.randn(PASS_TOKENS, one.in_features).to(one.weight.dtype) for one in [*linear, head]
    }

    @torch.inference_mode()
    def products() -> float:
        for layers, count in ((linear, tokens), ([head], predicted)):
            for start in range(0, count, PASS_TOKENS):
                for layer in layers:
                    torch.nn.functional.linear(inputs[layer.in_features][: count - start], layer.weight)
        return float(len(asked) * variants)

    def ours() -> float:
        return len(list(engine.score(asked))) / sum(len(one.options) for one in asked) * len(asked)

    list(engine.score(asked[:1]))
    mine, theirs = alternate(rounds, lambda: rate(ours), lambda: rate(products))
    note = f"peer: products alone; {tokens / len(asked) / variants:.0f} tokens a question"
    return [compare(f"score trait questions, {variants} adapters", mine, theirs, "questions/s", 0.6, note)]
