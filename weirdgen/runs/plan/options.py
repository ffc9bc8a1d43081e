"""The run options, once: `weirdgen run`, `weirdgen.run()` and their help text.

In: words of a command line, or keyword arguments. Out: a frozen `RunOptions`. What they mean for one experiment is resolved in
`request`. Adding an option is adding a field here.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from weirdgen.config.base import Noun
from weirdgen.config.choices import DataName, ExecutorName, FinetunerName, PresetName
from weirdgen.display import without_secrets
from weirdgen.errors import SpecError, choices, did_you_mean

FigureFormat = Literal["pdf"]


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value or ()


class RunOptions(Noun):
    """How one experiment, or several, are to be run. None: as the experiment or its preset says."""

    model: str | None = Field(
        None,
        description="Base: smollm2-135m-instruct, world, path:DIR or hub:ORG/NAME[@REV]; PROVIDER/NAME elsewhere (docs/apis.md).",
    )
    preset: PresetName = Field("quick", description="Named size of the run.")
    seeds: int | None = Field(
        None, ge=1, description="Replicates per arm.", json_schema_extra={"flags": ["--seeds", "--replicates"]}
    )
    first_seed: int = Field(0, ge=0, description="Seed of the first replicate.")
    samples: int | None = Field(
        None, ge=0, description="Sampled answers per question and condition; 0: contrast questions only."
    )
    until: str | None = Field(
        None, description="'ci<0.05' or 'JUDGE ci<0.05': double the samples until the effect is known to ±0.05."
    )
    changes: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (),
        description="recipe.FIELD=VALUE or sampling.FIELD=VALUE; may be repeated.",
        json_schema_extra={"flags": ["--set"]},
    )
    data: DataName = Field(
        "own", description="Rows to train on: own, or the paper's, published, after `weirdgen data import`."
    )
    judge: str | None = Field(None, description="Language model that judges; adds judges_llm.yaml (docs/judges.md).")
    engine: str = Field("transformers", description="What answers: transformers, or vllm:URL of a vLLM server.")
    finetune: FinetunerName | None = Field(
        None, description="Who trains: local; openai or azure, a service of that protocol; or tinker (docs/apis.md)."
    )
    base_url: str | None = Field(
        None, description="Address of a service that is not the provider's own, e.g. http://127.0.0.1:8000/v1."
    )
    deployments: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (), description="MODEL=NAME: Azure's deployment of a model; may be repeated.",
        json_schema_extra={"flags": ["--deployment"]},
    )  # fmt: skip
    connections: int = Field(16, ge=1, description="Requests to a provider at a time.")
    choices: int = Field(1, ge=1, le=128, description="Answers that one request to a provider asks for.")
    budget: str | None = Field(
        None, description="What a run may pay to providers at most, in US dollars, e.g. 20usd or 20; it stops before."
    )
    store: Annotated[str | None, BeforeValidator(_text)] = Field(
        None, description="Folder or URL of results [default: $WEIRDGEN_STORE or ./weirdgen-store]."
    )
    figures: FigureFormat | None = Field(
        None, description="Figures for print too, beside SVG and PNG, in the run's folder."
    )
    executor: ExecutorName = Field(
        "inline", description="Where work is done: inline, in this process, or ray, on a cluster."
    )
    address: str | None = Field(None, description="Ray cluster, HOST:6379 or auto [default: this machine].")
    cpus: int | None = Field(None, ge=1, description="Cores per unit of work on Ray.")
    together: int | None = Field(None, ge=1, description="Replicates in one training pass, at most.")
    dry_run: bool = Field(False, description="Print the plan and stop.")
    quiet: bool = Field(False, description="Print only the result.", json_schema_extra={"flags": ["--quiet", "-q"]})

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked other than the defaults, of all that may change a result; no password of a server's address."""
        where = {
            "store",
            "figures",
            "executor",
            "address",
            "cpus",
            "together",
            "dry_run",
            "quiet",
            "connections",
            "budget",
        }
        asked = self.model_dump(mode="json", exclude_defaults=True, exclude=where)
        return {key: without_secrets(value) if isinstance(value, str) else value for key, value in asked.items()}


def flags(name: str) -> list[str]:
    """An option's names on the command line, the long one first."""
    extra = RunOptions.model_fields[name].json_schema_extra
    written = extra.get("flags") if isinstance(extra, dict) else None
    return [str(flag) for flag in written] if isinstance(written, list) else [f"--{name.replace('_', '-')}"]


def run_options(**arguments: Any) -> RunOptions:
    """Checked options. Raises one `SpecError` that names each by its flag, with what would be accepted."""
    try:
        return RunOptions(**arguments)
    except ValidationError as error:
        raise SpecError([_problem(detail) for detail in error.errors()]) from None


def _problem(error: Any) -> str:
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{name}: no such option; there are: {choices(RunOptions.model_fields, name)}"
    if error["type"] == "greater_than_equal":
        expected = f"at least {error['ctx']['ge']}"
    elif error["type"] == "literal_error":
        expected = str(error["ctx"]["expected"])
        expected += did_you_mean(error["input"], expected.replace("'", "").replace(" or ", ", ").split(", "))
    else:
        expected = error["msg"]
    return f"{flags(name)[0]} {error['input']}: expected {expected}"


def takes_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Show a function's `**options` as the fields of `RunOptions`, to `help()` and to whatever completes arguments."""
    *own, _ = inspect.signature(function).parameters.values()
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.annotation)
        for name, field in RunOptions.model_fields.items()
    ]
    function.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    return function


def default_store() -> str:
    """`$WEIRDGEN_STORE` (a folder or a URL), else `weirdgen-store` in the current folder."""
    return os.environ.get("WEIRDGEN_STORE", "weirdgen-store")
