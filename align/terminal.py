"""How the command line looks to a person: progress on stderr, results as plain text.

Text from models, prompts and imports is hostile here too: no control character of theirs reaches
the terminal.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LOG_SECONDS = 2.0  # Choice: a log with a line of progress every two seconds can still be read
SHOWN_REFUSALS = 20  # Choice: enough to see a pattern; --json has all


class Terminal:
    """Progress on a stream: on a terminal one line that is overwritten, in a log one now and then.

    A text that ends in a newline is kept in both cases.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._open = False  # an unfinished line stands there
        self._next = 0.0  # when a log may get its next line of progress

    def __call__(self, text: str) -> None:
        if not (text.endswith("\n") or self._live):
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + LOG_SECONDS
        kept = text.endswith("\n") or not self._live
        line = clean(text.rstrip("\n"))
        if self._live:
            line = line if kept else line[: shutil.get_terminal_size().columns - 1]
            self._stream.write("\r\x1b[K")
        self._stream.write(line.encode("utf-8", "replace").decode() + ("\n" if kept else ""))
        self._stream.flush()
        self._open = not kept

    def close(self) -> None:
        """End an unfinished line, so that what comes next starts on its own."""
        if self._open:
            self._stream.write("\n")
            self._open = False


def clean(text: str) -> str:
    """Return text without what would steer a terminal (escape sequences, direction overrides)."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def words(name: str, result: Mapping[str, Any]) -> str:
    """Return a command's result as plain text for a person."""
    return clean(WORDS[name](result))


def _import(result: Mapping[str, Any]) -> str:
    refused = result["refused"]
    lines = [
        f"{result['read']} rows read, {result['stored']} stored, "
        f"{result['duplicates']} duplicates, {len(refused)} refused"
    ]
    lines += [f"  row {one['row']}: {one['why']}" for one in refused[:SHOWN_REFUSALS]]
    if len(refused) > SHOWN_REFUSALS:
        lines.append(f"  … and {len(refused) - SHOWN_REFUSALS} more (--json lists all)")
    return "\n".join(lines)


def _export(result: Mapping[str, Any]) -> str:
    return f"{result['written']} rows written"


def _generate(result: Mapping[str, Any]) -> str:
    return (
        f"{result['responses']} answers to {result['prompts']} prompts, "
        f"{result['comparisons']} comparisons"
    )


def _check(result: Mapping[str, Any]) -> str:
    lines = []
    for one in result["checks"]:
        lines.append(f"{one['severity']:8} {one['name']:20} {interval(one)}  {one['message']}")
        if one["severity"] in ("warn", "stop") and one["remedy"]:
            lines.append(f"{'':8} -> {one['remedy']}")
    return "\n".join(lines)


def interval(one: Mapping[str, Any]) -> str:
    """Return value, interval and number of a measured share, or that there is none.

    >>> interval({"value": 0.4099, "low": 0.397, "high": 0.423, "n": 5460})
    '0.410 (0.397 to 0.423, n 5460)'
    """
    if one["value"] is None:
        return f"- (n {one['n']})"
    spread = "" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}, "
    return f"{one['value']:.3f} ({spread}n {one['n']})"


def _advise(result: Mapping[str, Any]) -> str:
    lines = []
    for one in result["advice"]:
        settings = "".join(f" --set {name}={value}" for name, value in one["settings"].items())
        lines.append(f"--method {one['method']}{settings}\n  {one['reason']}")
    return "\n".join(lines)


def _snapshot(result: Mapping[str, Any]) -> str:
    return f"{result['snapshot']}: {result['pairs']} pairs, {result['labels']} labels"


def _run(result: Mapping[str, Any]) -> str:
    lines = [f"{result['run']}: {result['status']} after {result['seconds']:.0f} s"]
    if result["adapter"]:
        lines.append(f"  adapter   {result['adapter']}")
    report = result["report"]
    lines += _warnings(result)
    if report is None:
        return "\n".join(lines)
    if published := report.get("published"):
        lines.insert(1, f"  {published['why']}")
    held_out = report.get("held_out") or {}
    if held_out.get("reward_accuracy") is not None:
        lines.append(
            f"  held-out  reward accuracy {held_out['reward_accuracy']:.3f} "
            f"({held_out['low']:.3f} to {held_out['high']:.3f}, {held_out['pairs']} pairs)"
        )
    if (far := (report.get("kl") or {}).get("per_token")) is not None:
        lines.append(f"  kl        {far:.2g} nats per token")
    for key, unit in (("length", "tokens"), ("repeating", "share"), ("unfinished", "share")):
        part = report.get(key) or {}
        if part.get("before") is not None and part.get("after") is not None:
            lines.append(f"  {key:9} {part['before']:.3g} -> {part['after']:.3g} ({unit})")
    return "\n".join(lines)


def _warnings(result: Mapping[str, Any]) -> list[str]:
    """Return what looks wrong in a run, each with its remedy."""
    lines = []
    for one in result.get("warnings") or ():
        lines += [f"  warning   {one['what']}", f"            -> {one['remedy']}"]
    return lines


def _preflight(result: Mapping[str, Any]) -> str:
    return "\n".join(result["words"])


def _sweep(result: Mapping[str, Any]) -> str:
    lines = [f"{result['sweep']}: {result['status']}"]
    lines.append(f"  {'beta':>6}  {'accuracy (95 %)':22} {'nats per token':>14}  {'length':13} run")
    for one in result["points"]:
        if one["accuracy"] is None:
            told = f"{one['status']}{': ' if one['warnings'] else ''}{'; '.join(one['warnings'])}"
            lines.append(f"  {one['beta']:>6g}  {told:53} {one['run']}")
            continue
        right = f"{one['accuracy']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        far = "-" if one["kl"] is None else f"{one['kl']:.3g}"
        long = f"{_number(one['length_before'])} -> {_number(one['length_after'])}"
        lines.append(f"  {one['beta']:>6g}  {right:22} {far:>14}  {long:13} {one['run']}")
        lines += [f"  {'':6}  -> {warning}" for warning in one["warnings"]]
    return "\n".join([*lines, result["reading"]] if result["reading"] else lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _cancel(result: Mapping[str, Any]) -> str:
    return f"{result.get('run') or result['sweep']}: {result['status']}"


def _compare(result: Mapping[str, Any]) -> str:
    return (
        f"--- before ({result['tokens_before']} tokens)\n{result['before']}\n"
        f"--- after {result['run']} ({result['tokens_after']} tokens)\n{result['after']}"
    )


def _simulate(result: Mapping[str, Any]) -> str:
    return (
        f"{result['votes']} votes by {result['labelers']} simulated labelers; "
        f"{result['comparisons']} comparisons"
    )


def _gold(result: Mapping[str, Any]) -> str:
    rows = [f"{row['comparison']}  {row['verdict']}" for row in result["gold"]]
    return "\n".join([f"{len(rows)} gold items", *rows])


def _campaign(result: Mapping[str, Any]) -> str:
    return (
        f"each comparison is judged by {result['overlap']}, {result['shared']:.0%} by one more; "
        f"of a labeler's items {result['repeats']:.0%} are silent repeats, {result['gold']:.0%} "
        "gold"
    )


def _runs(result: Mapping[str, Any]) -> str:
    rows = [
        f"{one['run']:18} {one['status']:10} {one['method']:5} {one['step']}/{one['steps']:<6} "
        f"{one['snapshot']:22} {one['model']}"
        for one in result["runs"]
    ]
    return "\n".join(rows) or "no runs yet: start one with `python app.py train`"


WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "import": _import,
    "export": _export,
    "generate": _generate,
    "check": _check,
    "advise": _advise,
    "snapshot": _snapshot,
    "preflight": _preflight,
    "train": _run,
    "sweep": _sweep,
    "resume": _run,
    "cancel": _cancel,
    "compare": _compare,
    "simulate": _simulate,
    "gold": _gold,
    "campaign": _campaign,
    "runs": _runs,
}
