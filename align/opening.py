"""What a run has before its first step: rows in tokens, how it computes, the policy.

`align/session.py` puts these together; each is a function of its own, so that a benchmark or a test
can take what it needs.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import AutoConfig

from align import recipes, sharding
from align.answer_costs import PROBE_PROMPTS, REPORT_PROMPTS
from align.batches import Cutter, Fork
from align.device import device_now
from align.losses import LOSSES, balanced_weights
from align.policy import (
    Policy,
    device_here,
    flex_is_faster,
    load_policy,
)
from align.preflight import BUDGET, Passes, Rows, of_one, settle
from align.processes import ALONE, Processes
from align.reference import ReferenceScores
from align.rendering import Ids, LabelRow, PairRow, Row, Template, fit, label_rows, pair_rows
from align.scored import start_of
from align.sharing import riders_agree, shared_prompts_agree, why_apart
from align.subset import rows_of
from storage.errors import BadInput, NotFound

SAMPLE = 2  # rows whose scores are compared before a run


@dataclass(frozen=True, slots=True)
class Tokenised:
    """What a snapshot gives this run, in tokens."""

    train: list[Row]
    held_out: list[PairRow]
    prompts: list[Ids]  # held-out prompts for greedy answers
    dropped: Mapping[str, int]


def prepare(
    settings: recipes.Settings,
    template: Template,
    rows: Mapping[str, list[dict[str, Any]]],
    limit: int,
) -> Tokenised:
    """Return train rows, held-out pairs and held-out prompts; duel rows stay untouched."""
    loss = LOSSES[settings.method]
    training, judged = rows_of(loss, rows, settings.train.max_rows)
    counts: Counter[str]
    found: list[Row]
    if loss.needs == "pairs":
        pairs, counts = pair_rows(template, training, limit)
        found = list(pairs)
    else:
        labels, counts = label_rows(template, training, limit)
        found = list(labels)
    if not found:
        raise BadInput(
            f"none of the {len(training)} {loss.needs} can be trained on: {dict(+counts)}"
        )
    held, _ = pair_rows(template, judged, limit)
    thumbs, _ = label_rows(template, [r for r in rows["labels"] if r["split"] == "held_out"], limit)
    prompts: dict[str, Ids] = {}
    for one in sorted([*held, *thumbs], key=lambda row: row.prompt_id):
        if len(prompts) < REPORT_PROMPTS:
            prompts.setdefault(one.prompt_id, one.prompt)
    return Tokenised(found, held, list(prompts.values()), dict(+counts))


def probe_prompts(material: Tokenised) -> list[Ids]:
    """Return the prompts of a run's probes: held-out ones, or where there is none, trained ones."""
    rows = sorted(material.train, key=lambda row: row.prompt_id)
    trained = list(dict.fromkeys(row.prompt for row in rows))
    return (material.prompts or trained)[:PROBE_PROMPTS]


def load(
    config: Mapping[str, Any], settings: recipes.Settings, precision: str, together: Processes
) -> Policy:
    """Return the policy; where the base is to be sharded, with this process's share of it."""
    if not sharded(config) or together.count == 1:
        return read_policy(config, settings, precision, device_here())
    read = partial(read_policy, config, settings, precision, torch.device("cpu"))
    return sharding.load_in_turn(read, together, device_here())


def read_policy(
    config: Mapping[str, Any], settings: recipes.Settings, precision: str, device: torch.device
) -> Policy:
    """Return the base with an adapter, a new one or that of the run that this one goes on from."""
    train, (start, kept) = settings.train, start_of(config)
    policy = load_policy(
        config["model"],
        precision=precision,
        rank=train.lora_rank,
        alpha=train.lora_alpha,
        seed=train.seed,
        tune=train.tune,
        device=device,
    )
    if start is not None:
        policy.go_on_from(start, as_reference=kept)
    return policy


def sharded(config: Mapping[str, Any]) -> bool:
    """Say whether the base is to lie in shares on the processes."""
    return bool(config.get("shard"))


def choose_passes(
    config: Mapping[str, Any],
    base: Mapping[str, Any],
    settings: recipes.Settings,
    material: Tokenised,
    references: ReferenceScores,
    processes: int = 1,
) -> Passes:
    """Return how the run computes: as its preflight settled, else by what is free now.

    Args:
        references: those of a run that goes on know the precision that it began with.
        processes: that share the work.

    Raises:
        Unsupported: it does not fit.
    """
    if settled := Passes.of(config):
        return settled
    train = settings.train
    train = dataclasses.replace(train, precision=references.precision or train.precision)
    train, device = of_one(train, device_now(), processes)
    rows = Rows.of(material.train, train, riding=LOSSES[settings.method].mismatched)
    name = str(config.get("model_name", config["model"]))
    return settle(base, 0, rows, train, device, name, processes if sharded(config) else 1).passes


def choose_cutter(
    policy: Policy,
    precision: str,
    settings: recipes.Settings,
    material: Tokenised,
    pad: int,
    *,
    budget: int = 0,
    together: Processes = ALONE,
) -> Cutter:
    """Return how to cut batches; responses to one prompt share a row if that scores the same here,
    and KTO's mismatched responses ride on the rows' prompts.

    Args:
        budget: padded tokens per forward pass; 0: what is usual on the device.
        together: the processes that decide as the first one does. In lockstep nothing rides, for a
            pass with riders in one process would meet two passes without in another.
    """
    train, rows = settings.train, material.train
    alone = Cutter(
        shared=False,
        budget=budget or BUDGET[policy.device.type],
        limit=train.micro_batch,
        max_tokens=min(train.max_tokens, policy.context or train.max_tokens),
        pad=pad,
        prompts=bool(settings.loss.get("prompt_weight")),
    )
    judged = [*rows, *material.held_out]
    longest = max(len(row.prompt) + max(map(len, row.responses)) for row in judged)
    if why := why_apart(policy.model.get_base_model().config, longest):
        print(f"one row per response: {why}", flush=True)
        return alone
    sample = [Fork(row.prompt, row.responses) for row in rows[:SAMPLE]]
    if len(sample[0].responses) == 1:  # labels: each with another one's response beside it
        beside = [(*f.responses, *sample[i - 1].responses) for i, f in enumerate(sample)]
        sample = [Fork(*fit(f.prompt, both, alone.max_tokens))
                  for f, both in zip(sample, beside, strict=True)]  # fmt: skip
    in_step = together.lockstep  # then nobody tries what might fail in one process alone
    policy.flex = not in_step and together.from_first(flex_is_faster(policy, sample))
    shared, difference = together.from_first(shared_prompts_agree(policy, sample, precision))
    if policy.flex and not shared:
        policy.flex = False
        shared, difference = together.from_first(shared_prompts_agree(policy, sample, precision))
    print(f"one row per prompt: {shared} (differs by {difference:.2g} nats per token)", flush=True)
    mismatched = LOSSES[settings.method].mismatched
    apart = in_step or policy.recomputed  # recomputed: no keys and values are kept to ride on
    riding = shared and mismatched and not apart and riders_agree(policy, sample, precision)
    if mismatched:
        print(f"mismatched responses ride on the prompts: {riding}", flush=True)
    return dataclasses.replace(alone, shared=shared, riding=riding)


def loss_settings(settings: recipes.Settings, rows: list[Row]) -> dict[str, float]:
    """Return the loss's settings as numbers: "auto" label weights by the counts of the labels."""
    values = dict(settings.loss)
    if recipes.AUTO in values.values():
        good = sum(isinstance(row, LabelRow) and row.good for row in rows)
        for name, weight in zip(
            recipes.BALANCED, balanced_weights(good, len(rows) - good), strict=True
        ):
            if values[name] == recipes.AUTO:
                values[name] = weight
    return values


def read_base(path: str) -> dict[str, Any]:
    """Return the base's config.json.

    Raises:
        NotFound: the base is not there (any more), or lacks its configuration.
    """
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except OSError as error:
        raise NotFound(
            f"the base model {path} cannot be loaded ({str(error).splitlines()[0]}); "
            "put it back, or train again from another base"
        ) from error
    values: dict[str, Any] = config.to_dict()
    return values
