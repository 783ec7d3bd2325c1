"""What can be set for a run, checked when it is made, and good first values. Knows no torch.

A method's own settings are the keyword-only parameters of its loss (`align/losses.py`); the rest is
`TrainSettings`. All of them travel as one flat JSON object: {"beta": 0.1, "learning_rate": 1e-4,
…}.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from align.losses import LOSSES
from storage.errors import BadInput

AUTO = "auto"
PRECISIONS = (AUTO, "bf16", "fp32", "nf4")
KEPT = (AUTO, "best", "last")
TINY = 400_000_000  # parameters. Choice: up to SmolLM2-360M, which a laptop trains in minutes


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train, whatever the loss."""

    epochs: int = 1
    learning_rate: float = 5e-6  # peak, reached after the warm-up, then down to 0 along a cosine
    batch_size: int = 16  # rows per optimiser step
    micro_batch: int = 0  # rows per forward pass; 0: as many as fit. Changes speed, not the result
    lora_rank: int = 16
    lora_alpha: int = 32
    max_tokens: int = 1024  # of a prompt with its response
    precision: str = AUTO
    warmup: float = 0.1  # share of the steps
    max_grad_norm: float = 1.0
    save_every: int = 0  # steps between checkpoints; 0: ten times per run
    eval_every: int = 0  # steps between judgements; 0: at epochs' ends, at least four times per run
    early_stop: int = 0  # judgements without a lower held-out loss that end the run; 0: never.
    # Choice: 0, because held-out loss may rise while accuracy still does, and `keep` undoes harm
    keep: str = AUTO  # publish the "best" judged step or the "last"; auto: see `keeping.ENOUGH`
    seed: int = 0


Check = tuple[Callable[[Any], bool], str]
CHECKS: Mapping[str, Check] = {
    "epochs": (lambda v: 1 <= v <= 100, "a whole number from 1 to 100"),
    "learning_rate": (lambda v: 0 < v <= 0.1, "a number above 0, at most 0.1"),
    "batch_size": (lambda v: 1 <= v <= 4096, "a whole number from 1 to 4096"),
    "micro_batch": (lambda v: 0 <= v <= 4096, "0 (automatic) or rows per forward pass"),
    "lora_rank": (lambda v: 1 <= v <= 1024, "a whole number from 1 to 1024"),
    "lora_alpha": (lambda v: 1 <= v <= 4096, "a whole number from 1 to 4096"),
    "max_tokens": (lambda v: 16 <= v <= 131_072, "a whole number from 16 to 131072"),
    "precision": (lambda v: v in PRECISIONS, "one of " + ", ".join(PRECISIONS)),
    "warmup": (lambda v: 0 <= v < 1, "a share from 0 to below 1"),
    "max_grad_norm": (lambda v: 0 < v < math.inf, "a number above 0"),
    "save_every": (lambda v: 0 <= v <= 1_000_000, "0 (automatic) or steps between checkpoints"),
    "eval_every": (lambda v: 0 <= v <= 1_000_000, "0 (automatic) or steps between judgements"),
    "early_stop": (lambda v: 0 <= v <= 1000, "0 (never) or judgements without improvement"),
    "keep": (lambda v: v in KEPT, "one of " + ", ".join(KEPT)),
    "seed": (lambda v: 0 <= v < 2**32, "a whole number from 0 to 2^32 - 1"),
    "beta": (lambda v: 0 < v <= 100, "a number above 0, at most 100 (0.1 is usual)"),
    "label_smoothing": (lambda v: 0 <= v < 0.5, "a share of wrong votes from 0 to below 0.5"),
    "ld_alpha": (lambda v: 0 <= v <= 1, "a share from 0 to 1 (1 is DPO)"),
    "gamma": (lambda v: 0 <= v <= 100, "a number from 0 to 100"),
    "odds_weight": (lambda v: 0 < v <= 100, "a number above 0, at most 100 (0.1 is usual)"),
    "sft_weight": (lambda v: 0 <= v <= 100, "0 (none) or a number up to 100 (1 is usual)"),
    "desirable_weight": (lambda v: v == AUTO or v > 0, "auto or a number above 0"),
    "undesirable_weight": (lambda v: v == AUTO or v > 0, "auto or a number above 0"),
}
BALANCED = (
    "desirable_weight",
    "undesirable_weight",
)  # "auto": chosen from the counts of the labels


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides a run, apart from its snapshot and its base."""

    method: str
    loss: Mapping[str, Any] = field(default_factory=dict)
    train: TrainSettings = field(default_factory=TrainSettings)

    def as_json(self) -> dict[str, Any]:
        """Return the flat object that `from_json` takes."""
        return {**self.loss, **dataclasses.asdict(self.train)}


def defaults(method: str) -> dict[str, Any]:
    """Return every setting of a method with its default, flat.

    Raises:
        BadInput: there is no such method.
    """
    if method not in LOSSES:
        raise BadInput(f"method {method!r} is not known; choose one of {', '.join(LOSSES)}")
    own: dict[str, Any] = dict(LOSSES[method].settings())
    own.update({name: AUTO for name in BALANCED if name in own})
    return {**own, **dataclasses.asdict(TrainSettings())}


def recipe(method: str, model_config: Mapping[str, Any] | None = None) -> Settings:
    """Return settings that suit a method and a base.

    A tiny base gets the demo recipe: a large learning rate and several epochs, so that minutes on a
    laptop show what the feedback does. For bases of billions of parameters that rate destroys the
    model; they get the careful published values.

    Args:
        model_config: the base's config.json (or nothing: then the demo recipe, for the embedded
        base).

    Source: learning rates for LoRA on large bases: DPO 5e-6 (alignment-handbook, zephyr QLoRA), KTO
        5e-6 (Ethayarajh et al.). Choice: the demo values, by `benchmarks/effect.py`.
    """
    values = defaults(method)
    if model_config is None or count_parameters(model_config) <= TINY:
        values.update(DEMO[LOSSES[method].needs])
    return from_json(method, values)


DEMO: Mapping[str, Mapping[str, Any]] = {
    "pairs": {"learning_rate": 2e-4, "epochs": 2, "batch_size": 8},
    "labels": {"learning_rate": 2e-4, "epochs": 1, "batch_size": 8},
}


def count_parameters(config: Mapping[str, Any]) -> int:
    """Return about how many parameters a config.json means; many if it does not say."""
    try:
        hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
        wide, vocabulary = int(config["intermediate_size"]), int(config["vocab_size"])
    except (KeyError, TypeError, ValueError):
        return TINY + 1
    return layers * (4 * hidden * hidden + 3 * hidden * wide) + vocabulary * hidden


def from_json(method: str, values: Mapping[str, Any]) -> Settings:
    """Return checked settings; what is not given has its default.

    Raises:
        BadInput: unknown or bad settings, all of them named at once.
    """
    known = defaults(method)
    errors, good = [], dict(known)
    for name, value in values.items():
        if name not in known:
            errors.append(f"{name} is not a setting of {method} (there are: {', '.join(known)})")
            continue
        try:
            good[name] = _checked(name, value, known[name])
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise BadInput("; ".join(errors))
    own = {name: good[name] for name in LOSSES[method].settings()}
    rest = {f.name: good[f.name] for f in dataclasses.fields(TrainSettings)}
    return Settings(method, own, TrainSettings(**rest))


def from_pairs(
    pairs: Iterable[str], method: str = "dpo", model_config: Mapping[str, Any] | None = None
) -> Settings:
    """Return the recipe changed by words like "beta=0.1", as the command line takes them.

    Raises:
        BadInput: a word without "=", an unknown name, or a bad value; all named at once.
    """
    values: dict[str, Any] = {}
    errors = []
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign:
            errors.append(f"{pair!r} is not NAME=VALUE (for example beta=0.1)")
            continue
        try:
            values[name.strip()] = json.loads(text)
        except ValueError:
            values[name.strip()] = text.strip()
    base = recipe(method, model_config).as_json()
    try:
        settings = from_json(method, {**base, **values})
    except BadInput as error:
        raise BadInput("; ".join([*errors, str(error)])) from error
    if errors:
        raise BadInput("; ".join(errors))
    return settings


def _checked(name: str, value: Any, default: Any) -> Any:
    """Return a value in its setting's type; ValueError with a sentence where it is not good."""
    good, wanted = CHECKS[name]
    whole = isinstance(default, int) and not isinstance(default, bool)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if whole and number and float(value).is_integer():
        value = int(value)
    elif isinstance(default, float) and number:
        value = float(value)
    elif whole or isinstance(default, float) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} is {value!r}; it has to be {wanted}")
    try:
        fine = good(value)
    except TypeError:
        fine = False
    if not fine:
        raise ValueError(f"{name} is {value!r}; it has to be {wanted}")
    return value
