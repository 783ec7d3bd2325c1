"""The model card of a published run: what it is, from what, how it was made, and what is not known.

Pure: facts in, Markdown out. It quotes no prompt, no answer, no reason that somebody gave and no
person's name, and no path of the machine; the figures are those of the run's report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PEFT, TRANSFORMERS = "peft", "transformers"  # the libraries that a card may be for
FEW = 30  # held-out pairs. Choice: with fewer the interval of an accuracy is wider than 30 points

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Base:
    """The model that was trained, as others may know it."""

    title: str  # without a path
    fingerprint: str
    hub_id: str = ""  # "" if it is a folder of somebody's own
    exact: bool = False  # the weights are the hub's; else they were made of those
    what: str = ""  # one line on its origin
    licence: str = ""  # as the hub writes it; "" where it is not known

    @property
    def loads_as(self) -> str:
        """Return by which name these very weights are found."""
        return self.hub_id if self.exact else self.title


@dataclass(frozen=True, slots=True)
class Card:
    """Everything that a card is made of."""

    base: Base
    made: Facts  # the manifest of the run's adapter
    snapshot: Facts  # the snapshot's manifest
    report: Facts  # the run's report.json
    labelers: Mapping[str, int]  # kind → how many gave the snapshot's feedback
    against: Sequence[str] = ()  # names of what spoke against the start
    duel: str = ""  # how it stands, in words; "" if there was none
    duel_rate: float | None = None
    merged: Facts = field(default_factory=dict)  # `align.merging.Parity`; {} if not merged
    weights: Mapping[str, str] = field(default_factory=dict)  # file → SHA-256


def card(facts: Card, library: str) -> str:
    """Return the whole card, metadata first.

    Args:
        library: PEFT for the adapter, TRANSFORMERS for the merged model.
    """
    parts = [
        _head(facts, library), _data(facts), _checks(facts), _method(facts), _figures(facts),
        _merging(facts), _limits(facts), _verify(facts),
    ]  # fmt: skip
    return f"---\n{metadata(facts, library)}\n---\n\n" + "\n\n".join(filter(None, parts)) + "\n"


def metadata(facts: Card, library: str) -> str:
    """Return the card's YAML, as the hub's library writes it.

    Raises:
        ValueError: the library finds it wrong.
    """
    from huggingface_hub import EvalResult, ModelCardData  # here: it brings in a client for HTTP

    id = f"{facts.snapshot['id']}"
    shared = {
        "task_type": "text-generation", "dataset_type": "hone-snapshot",
        "dataset_revision": str(facts.snapshot["digest"]),
    }  # fmt: skip
    results = []
    accuracy = (facts.report.get("held_out") or {}).get("reward_accuracy")
    if accuracy is not None:
        results.append(EvalResult(
            **shared, dataset_name=f"{id}, held-out pairs", dataset_split="held_out",
            metric_type="accuracy", metric_name="reward accuracy", metric_value=round(accuracy, 4),
        ))  # fmt: skip
    if facts.duel_rate is not None:
        results.append(EvalResult(
            **shared, dataset_name=f"{id}, duel prompts", dataset_split="duel",
            metric_type="win_rate", metric_name="win rate against the base",
            metric_value=round(facts.duel_rate, 4),
        ))  # fmt: skip
    data = ModelCardData(
        base_model=facts.base.hub_id or None,
        library_name=library,
        license=facts.base.licence or None,
        pipeline_tag="text-generation",
        tags=["hone", str(facts.made["method"]), "preference-optimization", _tuning(facts)],
        model_name=title(facts),
        eval_results=results or None,
    )
    return data.to_yaml().strip()


def title(facts: Card) -> str:
    return f"{facts.base.title} after {facts.made['method'].upper()} ({facts.made['run']})"


def _tuning(facts: Card) -> str:
    return "full" if facts.made["settings"].get("tune") == "full" else "lora"


def _head(facts: Card, library: str) -> str:
    settings = facts.made["settings"]
    what = f"a LoRA adapter of rank {settings.get('lora_rank')}"
    if _tuning(facts) == "full":
        what = "a trained copy of every weight, kept as a PEFT adapter"
    if library == TRANSFORMERS:
        what = f"the base with {what} merged into its weights"
    lines = [
        f"# {_said(title(facts))}",
        f"This is {what}, trained with {facts.made['method'].upper()} on what people (or simulated "
        "labelers: see below) preferred among answers, with Hone.",
        f"- Base: {_code(facts.base.loads_as)}, fingerprint {_code(facts.base.fingerprint)}",
    ]
    if facts.base.what:
        lines.append(
            f"- The base is {_said(facts.base.what)}. On other weights of that name the "
            "adapter acts on what it was not made for."
        )
    licence = facts.base.licence or "not known here; the base's own counts"
    lines.append(f"- Licence: {licence}")
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:])


def _data(facts: Card) -> str:
    frozen, counts = facts.snapshot, facts.snapshot.get("counts") or {}
    rows: list[tuple[str, Any]] = [
        ("snapshot", _code(frozen["id"])), ("digest (SHA-256)", _code(frozen["digest"])),
    ]  # fmt: skip
    for kind in ("pairs", "labels"):
        split = counts.get(kind) or {}
        told = ", ".join(f"{split.get(name, 0):,} {_spaced(name)}" for name in SPLITS)
        rows.append((kind, f"{split.get('all', 0):,}: {told}"))
    rows.append(("trained on", f"{facts.made.get('rows', 0):,} rows"))
    feedback = counts.get("feedback") or {}
    rows.append(("feedback from", ", ".join(f"{n:,} {_said(k)}" for k, n in feedback.items())))
    people = ", ".join(f"{n:,} {LABELERS.get(k, k)}" for k, n in facts.labelers.items())
    rows.append(("labelers", people or "not known"))
    rows += [
        (f"remedy {one['name']}", f"cost {one['cost']:,} rows")
        for one in counts.get("remedies", ())
    ]
    out: dict[str, int] = {}
    for one in frozen.get("exclusions") or ():
        kind = str(one.get("kind", "item"))
        out[kind] = out.get(kind, 0) + 1
    if out:
        rows.append(("left out", ", ".join(f"{kind}: {n}" for kind, n in out.items())))
    rows += [(f"dropped: {_said(why)}", f"{n:,}") for why, n in _dropped(counts).items()]
    return "\n\n".join(
        filter(None, ["## Data", _table(("what", "how much"), rows), _openly(facts)])
    )


SPLITS = ("train", "held_out", "duel")
LABELERS = {"person": "people", "simulated": "simulated", "import": "imported names"}


def _openly(facts: Card) -> str:
    """Return what has to be said of simulated labelers."""
    total = sum(facts.labelers.values())
    simulated = facts.labelers.get("simulated", 0)
    if not simulated:
        return ""
    who = "All" if simulated == total else f"{simulated} of the {total}"
    return (
        f"**{who} labelers are simulated: rules, not people.** What this model learned from them "
        "is their rule, and its figures say how well it did that, not whether anybody likes it."
    )


def _checks(facts: Card) -> str:
    checks = facts.snapshot.get("checks") or {}
    if not checks:
        return "## What the checks said\n\nThe snapshot was frozen without its checks."
    rows = [(_code(name), _share(one), one.get("severity") or "-") for name, one in checks.items()]
    head = (
        "## What the checks said\n\nOf the feedback when the snapshot was frozen; 95 % intervals."
    )
    return f"{head}\n\n{_table(('check', 'value', 'said'), rows)}"


def _share(one: Facts) -> str:
    if one.get("value") is None:
        return f"not measured (n {one.get('n', 0)})"
    spread = "" if one.get("low") is None else f" ({one['low']:.3f} to {one['high']:.3f})"
    return f"{one['value']:.3f}{spread}, n {one['n']}"


def _method(facts: Card) -> str:
    made = facts.made
    rows = [(_code(name), _code(value)) for name, value in made["settings"].items()]
    start = f"It goes on from {_code(made['start'])}. " if made.get("start") else ""
    held_to = "that run's adapter" if made.get("reference") == "start" else "the base"
    published = (made.get("published") or {}).get("why", "")
    return (
        f"## Method\n\n{made['method'].upper()}, {made.get('steps')} steps, computed in "
        f"{made.get('precision')}. {start}The reference is {held_to}. {_sentence(published)}\n\n"
        f"{_table(('setting', 'value'), rows)}\n\n"
        f"Versions: {', '.join(f'{k} {v}' for k, v in (made.get('versions') or {}).items())}"
    )


def _figures(facts: Card) -> str:
    report = facts.report
    rows: list[tuple[str, Any]] = []
    held = report.get("held_out") or {}
    if held.get("reward_accuracy") is not None:
        interval = f"{held['low']:.3f} to {held['high']:.3f}, {held['pairs']} pairs"
        rows.append(("reward accuracy, held out", f"{held['reward_accuracy']:.3f} ({interval})"))
    if held.get("logp_accuracy_before") is not None:
        rows.append((
            "chosen more likely than rejected, before → after",
            f"{held['logp_accuracy_before']:.3f} → {held['logp_accuracy_after']:.3f}",
        ))  # fmt: skip
    if (far := (report.get("kl") or {}).get("per_token")) is not None:
        rows.append(("distance from the reference (KL, nats per token)", f"{far:.4f}"))
    for name, key in (("chosen", "chosen"), ("rejected", "rejected")):
        if (moved := (report.get("drift") or {}).get(key)) is not None:
            rows.append((f"drift of {name} answers (nats per token)", f"{moved:+.3f}"))
    for key, words in PAIRED.items():
        part = report.get(key) or {}
        if part.get("before") is not None and part.get("after") is not None:
            rows.append((f"{words}, before → after", f"{part['before']:.3g} → {part['after']:.3g}"))
    duel = facts.duel or "No duel against the base was held."
    table = (
        _table(("figure", "value"), rows) if rows else "Nothing could be measured: no held-out row."
    )
    return f"## Figures\n\nOn held-out prompts; 95 % intervals.\n\n{table}\n\nDuel: {duel}"


PAIRED = {
    "length": "length of a greedy answer (tokens)",
    "repeating": "share of answers that repeat themselves",
    "unfinished": "share of answers that did not end",
}


def _merging(facts: Card) -> str:
    found = facts.merged
    if not found:
        return ""
    exact = f"before rounding {found['merged']:.2g}, " if found.get("merged") is not None else ""
    instead = ""
    if found.get("instead_of"):
        instead = (
            f" Written in {found['dtype']} instead of {found['instead_of']}: served in bfloat16 it "
            "loses that again, and an engine that computes in float16 may overflow on some bases, "
            "which was not tried."
        )
    return (
        f"## Merged weights\n\n`merged/` holds the sum of base and adapter in {found['dtype']}, "
        "made from the base's 16-bit weights. Compared with base and adapter on "
        f"{found['tokens']:,} tokens of {found['rows']} answers (root mean square, nats per "
        f"token): {exact}as written {found['written']:.2g}, where training itself moved it by "
        f"{found['changed']:.2g}. Greedy answers as written: {found['written_same']} of "
        f"{found['answers']} are the same tokens.{instead}"
    )


def _limits(facts: Card) -> str:
    lines = [f"{one['what']} {one['remedy']}" for one in facts.report.get("warnings") or ()]
    if facts.against:
        names = ", ".join(facts.against)
        lines.append(f"It was trained although these spoke against it: {names}.")
    held = (facts.report.get("held_out") or {}).get("pairs") or 0
    if held < FEW:
        lines.append(f"{held} held-out pairs are few: read the interval, not the figure.")
    if not facts.duel:
        lines.append("Nobody compared it blind with the base.")
    lines += [
        "Measured on prompts of the same collection; on others it was not.",
        "Safety, truth, other languages and general ability were not measured.",
        "The feedback may hold personal data, and a model can repeat what it was trained on.",
    ]
    return "## Limits\n\n" + "\n".join(f"- {_said(line)}" for line in lines)


def _verify(facts: Card) -> str:
    rows = [(_code(name), _code(digest)) for name, digest in facts.weights.items()]
    return (
        f"## Verify\n\n{_table(('file', 'SHA-256'), rows)}\n\n"
        "Every file is in `manifest.json` and `SHA256SUMS`: `sha256sum -c SHA256SUMS`, or with "
        "Hone `python app.py verify DIR`, which also finds files that were added."
    )


def _dropped(counts: Facts) -> dict[str, int]:
    """Return why rows were dropped, without what an error said in brackets."""
    found: dict[str, int] = {}
    for why, n in (counts.get("dropped") or {}).items():
        key = str(why).split(" (")[0]
        found[key] = found.get(key, 0) + int(n)
    return found


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _said(words: object) -> str:
    """Return words that can do nothing in Markdown or HTML, on one line."""
    line = " ".join(str(words).split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in line)


def _code(value: object) -> str:
    """Return a value as code on one line, also within a table."""
    line = " ".join(str(value).split()).replace("`", "'").replace("|", "/")
    return f"`{line}`"
