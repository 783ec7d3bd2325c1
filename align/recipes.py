"""What can be set for a run, checked when it is made, and good first values. Knows no torch.

A method's own settings are the keyword-only parameters of its loss (`align/losses.py`); the rest is
`TrainSettings`. All of them travel as one flat JSON object: {"beta": 0.1, "learning_rate": 1e-4,
…}. Learning rates and their sources stand in `align/rates.py`, what β means in `align/leash.py`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from align.leash import least_beta, reach, unreachable
from align.losses import LOSSES
from align.rates import FULL, LORA, PREFERENCE, TINY, rate_of, rounded, too_high
from storage.errors import BadInput, Unsupported

AUTO = "auto"
PRECISIONS = (AUTO, "bf16", "fp32", "nf4")
KEPT = (AUTO, "best", "last")
EMBEDDED_PARAMETERS = 134_515_008  # SmolLM2-135M-Instruct


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train, whatever the loss."""

    epochs: int = 1
    learning_rate: float = 5e-6  # peak, reached after the warm-up, then down to 0 along a cosine
    batch_size: int = 16  # rows per optimiser step
    micro_batch: int = 0  # rows per forward pass; 0: as many as fit. Changes speed, not the result
    tune: str = LORA  # low-rank adapters, or "full": every weight, with a frozen copy beside it
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
    max_rows: int = 0  # rows to train on, and as many pairs to judge by; 0: all of them
    allow_high_learning_rate: bool = False  # above what `rates` says a base stands


Check = tuple[Callable[[Any], bool], str]
CHECKS: Mapping[str, Check] = {
    "epochs": (lambda v: 1 <= v <= 100, "a whole number from 1 to 100"),
    "learning_rate": (lambda v: 0 < v <= 0.1, "a number above 0, at most 0.1"),
    "batch_size": (lambda v: 1 <= v <= 4096, "a whole number from 1 to 4096"),
    "micro_batch": (lambda v: 0 <= v <= 4096, "0 (automatic) or rows per forward pass"),
    "tune": (lambda v: v in (LORA, FULL), f"{LORA} or {FULL} (every weight)"),
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
    "max_rows": (lambda v: v == 0 or 2 <= v <= 10**9, "0 (all) or how many rows, at least 2"),
    "allow_high_learning_rate": (lambda v: isinstance(v, bool), "true or false"),
    "beta": (lambda v: 0 < v <= 100, "a number above 0, at most 100 (0.1 is usual)"),
    "label_smoothing": (lambda v: 0 <= v < 0.5, "a share of wrong votes from 0 to below 0.5"),
    "ld_alpha": (lambda v: 0 <= v <= 1, "a share from 0 to 1 (1 is DPO)"),
    "gamma": (lambda v: 0 <= v <= 100, "a number from 0 to 100"),
    "odds_weight": (lambda v: 0 < v <= 100, "a number above 0, at most 100 (0.1 is usual)"),
    "prompt_weight": (lambda v: 0 <= v <= 1, "0 (the answer alone) to 1 (the prompt as well)"),
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


def recipe(
    method: str,
    model_config: Mapping[str, Any] | None = None,
    tune: str = LORA,
    rows: int = 0,
) -> Settings:
    """Return settings that suit a method, a base and a way of tuning.

    A tiny base gets the demo profile: a large learning rate and several epochs, so that minutes on
    a laptop show what the feedback does. For bases of billions of parameters that rate destroys the
    model; they get the careful published values. With all weights trained the recipe is the
    chapter's loop (AdamW, 5e-7, clip 1) for bases of every size.

    The device decides only what does not change the result, or what has to fit: the precision
    ("auto": NF4 on a GPU, bf16 or fp32 on a CPU) and the rows of a forward pass.

    Args:
        model_config: the base's config.json (or nothing: then the demo profile, for the embedded
            base).
        tune: "lora" or "full".
        rows: how many there are to train on, if that is known: then a method that aims at a margin
            gets a β whose target such a run can reach.

    Source: learning rates in `align/rates.py`. One epoch, batches of 16, LoRA on all linear layers:
        alignment-handbook and HALOs; three epochs for ORPO: the handbook's Mistral-Capybara.
        Choice: the demo values, by `benchmarks/effect.py`.
    """
    values = defaults(method)
    parameters = count_parameters(model_config)
    values.update(OWN.get(method, {}))
    if parameters <= TINY and tune == LORA:
        values.update(DEMO[LOSSES[method].needs])
    values["learning_rate"] = rate_of(method, parameters, tune).usual
    values["tune"] = tune
    if rows and "beta" in values:
        nats = reach(values["learning_rate"], values["epochs"], values["batch_size"], rows)
        values["beta"] = max(values["beta"], least_beta(method, nats))
    return from_json(method, values)


OWN: Mapping[str, Mapping[str, Any]] = {
    "orpo": {"epochs": 3},
    "ipo_norm": {"beta": 5.0},  # 0.1 nats per token: with β 1 few runs reach the half nat
}
DEMO: Mapping[str, Mapping[str, Any]] = {
    "pairs": {"epochs": 2, "batch_size": 8},
    "labels": {"epochs": 1, "batch_size": 8},
}


def count_parameters(config: Mapping[str, Any] | None) -> int:
    """Return about how many parameters a config.json means; many if it does not say.

    Nothing stands for the embedded base.
    """
    if config is None:
        return EMBEDDED_PARAMETERS
    try:
        hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
        wide, vocabulary = int(config["intermediate_size"]), int(config["vocab_size"])
        heads = int(config.get("num_attention_heads") or 1)
        shared = int(config.get("num_key_value_heads") or heads) / heads  # keys and values
    except (KeyError, TypeError, ValueError):
        return TINY + 1
    attention = (2 + 2 * shared) * hidden * hidden
    norms = (2 * layers + 1) * hidden
    return round(layers * (attention + 3 * hidden * wide)) + vocabulary * hidden + norms


def from_json(
    method: str, values: Mapping[str, Any], model_config: Mapping[str, Any] | None = None
) -> Settings:
    """Return checked settings; what is not given has its default.

    Args:
        model_config: the base's config.json: then a learning rate that is too high for it is
            refused.

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
    if model_config is not None and not errors and not good["allow_high_learning_rate"]:
        why = too_high(method, good["learning_rate"], count_parameters(model_config), good["tune"])
        errors += [why] if why else []
    if good["tune"] == FULL and good["precision"] == "nf4":
        errors.append(
            "tune=full trains every weight, which nf4 has only four bits of: use precision=bf16 or "
            "fp32, or tune=lora"
        )
    if errors:
        raise BadInput("; ".join(errors))
    own = {name: good[name] for name in LOSSES[method].settings()}
    rest = {f.name: good[f.name] for f in dataclasses.fields(TrainSettings)}
    return Settings(method, own, TrainSettings(**rest))


def from_pairs(
    pairs: Iterable[str],
    method: str = "dpo",
    model_config: Mapping[str, Any] | None = None,
    rows: int = 0,
) -> Settings:
    """Return the recipe changed by words like "beta=0.1", as the command line takes them.

    Args:
        rows: how many there are to train on, if that is known; see `recipe`.

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
    base = recipe(method, model_config, tuning(values), rows).as_json()
    try:
        settings = from_json(method, {**base, **values}, model_config)
    except BadInput as error:
        raise BadInput("; ".join([*errors, str(error)])) from error
    if errors:
        raise BadInput("; ".join(errors))
    return settings


def tuning(values: Mapping[str, Any]) -> str:
    """Return how the weights are tuned: "full" where that is asked for, else "lora"."""
    return FULL if values.get("tune") == FULL else LORA


def refuse_sharded(train: TrainSettings) -> None:
    """Refuse settings of a base that is to lie in shares on several processes.

    Raises:
        Unsupported: such a base is bf16 or fp32, and frozen.
    """
    if train.precision == "nf4":
        raise Unsupported("a base in nf4 is not sharded: set precision=bf16, or leave out --shard")
    if train.tune == FULL:
        raise Unsupported("--shard is for a frozen base: use tune=lora, or leave out --shard")


def remarks(
    settings: Settings, model_config: Mapping[str, Any] | None, rows: int | None = None
) -> list[str]:
    """Return what a person should know of settings before a run with them starts.

    Args:
        model_config: the base's config.json; nothing stands for the embedded base.
        rows: how many rows there are to train on, if that is known.
    """
    train, parameters = settings.train, count_parameters(model_config)
    tune, said = tuning(settings.as_json()), []
    if tune == LORA and parameters <= TINY and train.learning_rate > PREFERENCE[LORA].most:
        said.append(
            f"demo profile: learning rate {train.learning_rate:g} is for tiny models (this one has "
            f"{rounded(parameters)} parameters); one of billions gets "
            f"{rate_of(settings.method, TINY + 1).usual:g}"
        )
    if too_high(settings.method, train.learning_rate, parameters, tune):
        most = rate_of(settings.method, parameters, tune).most
        said.append(
            f"learning rate {train.learning_rate:g} is above {most:g}, where answers have turned "
            "into gibberish; it was allowed by hand"
        )
    if rows and 0 < train.max_rows < rows:
        said.append(f"trains on {train.max_rows:,} of the {rows:,} rows there are (max_rows)")
    if rows:
        taken = min(rows, train.max_rows or rows)
        nats = reach(train.learning_rate, train.epochs, train.batch_size, taken)
        said.append(unreachable(settings.method, settings.loss.get("beta", 1.0), nats))
    return [line for line in said if line]


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
