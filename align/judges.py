"""Who may judge besides people; JUDGES. Knows no torch.

A judge is named in one word with what it takes: "shorter", "contains:please", "file:rate.py",
"model:http://127.0.0.1:8000/v1#name".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

from align.judge_process import by_file, by_pattern
from align.model_judge import by_model
from feedback import rules
from feedback.judged import Judge
from feedback.values import shown
from storage.errors import BadInput


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of judge."""

    takes: str  # what is written behind its name and a colon; "" for nothing
    title: str  # how the screen calls it; "" where only the command line has it
    open: Callable[[str], AbstractContextManager[Judge]]  # from what it takes


@contextmanager
def _by_rule(name: str, ask: rules.Ask, what: str) -> Iterator[Judge]:
    yield Judge(f"judge: {name}", ask)


@contextmanager
def _by_text(text: str) -> Iterator[Judge]:
    yield Judge(f"judge: contains:{text}", rules.contains(text))


JUDGES: dict[str, Kind] = {
    "shorter": Kind("", "the shorter answer", partial(_by_rule, "shorter", rules.shorter)),
    "longer": Kind("", "the longer answer", partial(_by_rule, "longer", rules.longer)),
    "contains": Kind("TEXT", "the answer that contains a text", _by_text),
    "regex": Kind("PATTERN", "the answer in which a pattern is found", by_pattern),
    "file": Kind("PATH.py", "", by_file),  # a program: run only by whoever can run programs anyway
    "model": Kind("http://HOST/v1#NAME", "what another model says", by_model),
}
ON_SCREEN = [name for name, kind in JUDGES.items() if kind.title]


def open_judge(name: str, among: Collection[str] = tuple(JUDGES)) -> AbstractContextManager[Judge]:
    """Return the judge of a name, to be used within a `with`.

    Args:
        among: the kinds that are allowed here.

    Raises:
        BadInput: there is none of that name, or what it takes is missing or wrong.
    """
    kind, colon, what = name.lstrip().partition(":")  # a pattern may end in a space
    if kind not in among or kind not in JUDGES:
        known = ", ".join(spelled(one) for one in JUDGES if one in among)
        raise BadInput(f"there is no judge {shown(name)} here: use one of {known}.")
    takes = JUDGES[kind].takes
    if bool(takes) != bool(what.strip()) or bool(takes) != bool(colon):
        raise BadInput(f"the judge {shown(name)} is not complete: write it as {spelled(kind)}.")
    return JUDGES[kind].open(what)


def spelled(kind: str) -> str:
    """Return how a judge is named.

    Example:
        >>> spelled("shorter"), spelled("contains")
        ('shorter', 'contains:TEXT')
    """
    takes = JUDGES[kind].takes
    return f"{kind}:{takes}" if takes else kind
