"""What a text has to be before it is stored; each refusal is one sentence with the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from storage.errors import BadInput
from storage.records import Message

ROLES = ("system", "user", "assistant")
# Choice: about 250,000 tokens, more than models of this size read; it keeps a page and a row small.
MAX_CHARS = 1_000_000


def printable(text: str) -> str:
    r"""Return a hostile text as one line that any terminal and any page can show.

    Example:
        >>> printable("a\nb\ud800")
        'a\\nb\\ud800'
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def check_text(text: object, what: str) -> str:
    """Return the text if it can be stored exactly; else raise BadInput naming `what` and why."""
    if not isinstance(text, str):
        raise BadInput(f"{what} is {type(text).__name__} {str(text)[:40]!r}; it has to be a text")
    if len(text) > MAX_CHARS:
        raise BadInput(
            f"{what} has {len(text):,} characters, the limit is {MAX_CHARS:,}; shorten or split it"
        )
    if "\0" in text:
        raise BadInput(
            f"{what} has a NUL character at position {text.index(chr(0))}; remove it there"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{what} has half a character (surrogate U+{ord(text[error.start]):04X}) at position "
            f"{error.start}: it was cut or wrongly decoded; write the file again as UTF-8"
        ) from None
    return text


def check_messages(messages: Sequence[Message]) -> list[Message]:
    """Return a prompt's messages, role and content only, if a model can answer them.

    Raises:
        BadInput: no message, an unknown role, the last one is not the user's, an empty one.
    """
    if not messages:
        raise BadInput("the prompt is empty; write what the model shall answer")
    plain: list[Message] = []
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise BadInput(f"the prompt's message {number} has no role and content; give it both")
        role = message["role"]
        if role not in ROLES:
            raise BadInput(
                f"the prompt's message {number} has the role {role!r:.40}; "
                f"it has to be one of {', '.join(ROLES)}"
            )
        content = check_text(message["content"], f"the prompt's message {number}")
        if not content.strip():
            where = "" if len(messages) == 1 else f" (message {number} of {len(messages)})"
            raise BadInput(f"the prompt is empty{where}; write what the model shall answer")
        plain.append({"role": role, "content": content})
    if plain[-1]["role"] != "user":
        raise BadInput(f"the prompt ends with a {plain[-1]['role']} message; end it with a user's")
    return plain


def near_text(messages: Sequence[Message]) -> str:
    """Return what of a prompt is compared with other prompts.

    System messages are left out: one in front of every prompt would make all of them near.
    """
    said = [m["content"] for m in messages if m["role"] != "system"]
    return "\n".join(said or [m["content"] for m in messages])
