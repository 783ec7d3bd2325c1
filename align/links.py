"""A comparison as a link: the compare screen opens with the same prompt, sides, seed and settings.

What a link holds is checked like anything from outside. Nothing runs by itself when it is opened,
and no link brings the address of an endpoint, to which a prompt and a key would be sent. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from align.sides import BASE, ENDPOINT, SCHEMES
from storage.errors import BadInput

MOST_CHARS = 6_000  # Choice: of a whole link; mail programs and chats pass that much on unbroken
MOST_NAME = 100
MOST_TOKENS = 4_096
MOST_TEMPERATURE = 1.5
MOST_SEED = 2**48


@dataclass(frozen=True, slots=True)
class Question:
    """What the compare screen was asked, or is to be filled with."""

    before: str = BASE  # "base", a run's id, or "endpoint"
    after: str = ""
    prompt: str = ""  # id of a held-out prompt
    text: str = ""
    seed: int = 0
    temperature: float = 0.0
    max_tokens: int = 200
    pair: str = ""  # id of a comparison that is opened instead


def link(address: str, asked: Question) -> str:
    """Return the link to a question.

    Args:
        address: of the app, like "http://127.0.0.1:7860/".

    Raises:
        BadInput: the prompt is too long for a link.

    Example:
        >>> link("http://localhost/", Question(after="r-1", text="Why?"))
        'http://localhost/?compare=r-1&with=base&text=Why%3F&seed=0&temperature=0&tokens=200'
    """
    told = {"compare": _named(asked.after), "with": _named(asked.before), "prompt": asked.prompt}
    told |= {"text": asked.text, "pair": asked.pair, "seed": f"{asked.seed}"}
    told |= {"temperature": f"{asked.temperature:g}", "tokens": f"{asked.max_tokens}"}
    made = f"{address}?{urlencode({key: value for key, value in told.items() if value})}"
    if len(made) > MOST_CHARS:
        raise BadInput(
            f"The prompt is too long for a link ({len(made):,} characters of at most "
            f"{MOST_CHARS:,}): shorten it, or take a held-out prompt, which a link names by its id."
        )
    return made


def read(query: Mapping[str, str]) -> Question | None:
    """Return what a link asks for; None where the address is no such link.

    Raises:
        BadInput: a value that no link of ours has.
    """
    if "compare" not in query and "pair" not in query:
        return None
    text = query.get("text", "")
    if len(text) > MOST_CHARS:
        raise BadInput(
            f"The link's prompt has {len(text):,} characters; the most is {MOST_CHARS:,}."
        )
    return Question(
        before=_name(query, "with") or BASE,
        after=_name(query, "compare"),
        prompt=_name(query, "prompt"),
        text=text.replace("\0", ""),
        seed=int(_number(query, "seed", 0, MOST_SEED, whole=True)),
        temperature=_number(query, "temperature", 0, MOST_TEMPERATURE),
        max_tokens=int(_number(query, "tokens", 1, MOST_TOKENS, whole=True, usual=200)),
        pair=_name(query, "pair"),
    )


def _named(side: str) -> str:
    return ENDPOINT if side.startswith(SCHEMES) else side


def _name(query: Mapping[str, str], key: str) -> str:
    name = query.get(key, "")
    if len(name) > MOST_NAME or not name.isprintable():
        raise BadInput(f"The link's {key} is not a name: {name[:40]!r}; ask for the link again.")
    return _named(name)


def _number(
    query: Mapping[str, str], key: str, least: float, most: float, *, whole: bool = False,
    usual: float = 0,
) -> float:  # fmt: skip
    """Return a number of the link within its range."""
    text = query.get(key)
    if text is None:
        return usual
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most or whole and value != int(value):
        raise BadInput(
            f"The link's {key} is {text[:40]!r}; it has to be "
            f"{'a whole number' if whole else 'a number'} from {least:g} to {most:g}."
        )
    return value
