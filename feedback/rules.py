"""What judges two answers by a rule. Pure.

A judge is asked with a conversation and two answers, and says "first", "second" or "tie".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from feedback.values import shown
from storage.errors import BadInput
from storage.records import Message

SAYS = ("first", "second", "tie")  # all that a judge may say
MOST_CHARS = 200  # of what a rule looks for. Choice: more than anybody writes on one line

Ask = Callable[[Sequence[Message], str, str], str]


class Unreadable(Exception):
    """What a judge said is none of `SAYS`: there is no vote."""


def shorter(conversation: Sequence[Message], first: str, second: str) -> str:
    """Prefer the answer with fewer characters.

    Example:
        >>> shorter([], "Yes.", "Yes, by all means.")
        'first'
    """
    return _better(-len(first), -len(second))


def longer(conversation: Sequence[Message], first: str, second: str) -> str:
    """Prefer the answer with more characters."""
    return _better(len(first), len(second))


def contains(text: str) -> Ask:
    """Prefer the answer that has the text in it, in capitals or not.

    Example:
        >>> contains("thank")([], "Thank you!", "No.")
        'first'
    """
    wanted = looked_for(text, "text").casefold()

    def ask(conversation: Sequence[Message], first: str, second: str) -> str:
        return _better(wanted in first.casefold(), wanted in second.casefold())

    return ask


def asked_text(conversation: Sequence[Message]) -> str:
    """Return a conversation as one text: what was asked, or each turn with who said it.

    Example:
        >>> asked_text([{"role": "user", "content": "Hi"}])
        'Hi'
        >>> asked_text([{"role": "system", "content": "Brief!"}, {"role": "user", "content": "Hi"}])
        'system: Brief!\\n\\nuser: Hi'
    """
    if len(conversation) == 1:
        return conversation[0]["content"]
    return "\n\n".join(f"{one['role']}: {one['content']}" for one in conversation)


def _better(first: float, second: float) -> str:
    return "tie" if first == second else "first" if first > second else "second"


def looked_for(text: str, what: str) -> str:
    """Return what a rule looks for, if it is something on one line."""
    if not text.strip() or not text.isprintable() or len(text) > MOST_CHARS:
        raise BadInput(
            f"the judge's {what} is {shown(text)}: use 1 to {MOST_CHARS} characters on one line."
        )
    return text
