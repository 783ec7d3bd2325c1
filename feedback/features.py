"""What each text is like: its formatting, phrasing, flaws, personal data; computed once and kept.

Texts never change, so their features do not. They lie in `cache/features.npz` of the data folder,
by the first 8 bytes of the text's SHA-256; the file may be deleted at any time: it is made again,
in about 0.2 ms a text. `text_features` is the pure part.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feedback import kept
from feedback.identity import claimed, named
from feedback.personal import personal_kinds

if TYPE_CHECKING:
    from storage.store import Store

# Column → its type. Counts stop at the largest number that the type holds.
FEATURES: dict[str, str] = {
    "words": "u4",  # between white space
    "blank": "b1",  # nothing but white space
    "cut_off": "b1",  # ends in the middle of a sentence or a code block
    "broken": "b1",  # repeats itself on and on, has control tokens or undecodable characters
    "headings": "u2",
    "list_items": "u2",
    "bold": "u2",
    "tables": "u2",  # rows of tables
    "code_blocks": "u2",
    "links": "u2",
    "emoji": "u2",
    "exclamations": "u2",
    "questions": "u2",
    "opening": "u1",  # index into OPENINGS
    "closing": "u1",  # index into CLOSINGS
    "refusal": "b1",  # says at its beginning that it will not or cannot help
    "hedges": "u2",  # perhaps, it depends, I think, …
    "claims": "u8",  # families that it says it belongs to: bits of `identity.FAMILIES`
    "names": "u8",  # families that it names at all
    "mail": "u2",
    "phone": "u2",
    "card": "u2",
    "address": "u2",  # of a computer in the internet (IP)
}
OPENINGS = ("", "praise", "eager", "sorry", "as_an_ai")
CLOSINGS = ("", "offer", "summary", "question")
AT_ONCE = 2_000  # texts in memory at the same time
SAVE_AFTER = 500  # Choice: new texts; fewer are computed again in a tenth of a second
MADE_WITH = "v1 " + " ".join(FEATURES)  # a file made otherwise is not used

QUOTE_CHARS = 80  # Choice: a line that is read at a glance
QUOTE_BEFORE = 30  # Choice: of them before the sign, so that its sentence is recognised
MAX_LOOK = 50_000  # Choice: characters looked through for style; a book's style shows by then
# Choice: words. A short answer ("Paris") needs no full stop to be whole.
CUT_WORDS = 8
LOOP_WORDS, LOOP_SHARE = 60, 0.4  # Choice: fewer different word triples than this share is a loop

_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+\S", re.MULTILINE)
_LIST_ITEM = re.compile(r"^[ \t]*(?:[-*+•‣]|\(?\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_LAST_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•‣|#>]|\(?\d{1,3}[.)][ \t])")
_BOLD = re.compile(r"\*\*[^*\n]{1,200}\*\*|(?<!\w)__[^_\n]{1,200}__(?!\w)")
_TABLE_ROW = re.compile(r"^[ \t]*\|[^\n]*\|[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_LINK = re.compile(r"https?://\S|\]\([^)\s]{1,500}\)")
_EMOJI = re.compile(
    "[\U0001f300-\U0001f5ff\U0001f600-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001f9ff"
    "\U0001fa70-\U0001faff\U0001f1e6-\U0001f1ff\u2600-\u27bf\u2b50\u2b55]"
)
_END = re.compile(r"[.!?…。！？:;)\]}\"'”’»*_`~>|0-9]$")
_CONTROL = re.compile(r"<\|[a-z_]{2,30}\|>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>|\ufffd")

_OPENS = {
    "praise": re.compile(r"(?:what an? |that['’]s an? )?(?:great|good|excellent|interesting) ques"),
    "eager": re.compile(
        r"(?:sure|certainly|absolutely|of course|definitely|i['’]d be (?:happy|glad)|happy to)\b"
    ),
    "sorry": re.compile(r"(?:i['’]m (?:very |really |so )?sorry|sorry|i apologi[sz]e|apologies)\b"),
    "as_an_ai": re.compile(
        r"(?:as an? (?:ai|artificial|(?:large )?language model)|i['’]m an ai)\b"
    ),
}
_CLOSES = {
    "offer": re.compile(
        r"let me know|feel free to|hope (?:this|that|it) helps|happy to help|if you (?:have|need)"
        r"|don['’]t hesitate|would you like me to"
    ),
    "summary": re.compile(
        r"(?:^|\n)\W{0,4}(?:in (?:conclusion|summary|short)|overall|to sum|ultimately|remember)\b"
    ),
}
CLOSE_CHARS = 300  # Choice: the last sentence or two
_REFUSAL = re.compile(
    r"\bi(?: am|['’]m) (?:not able|unable) to\b"
    r"|\bi (?:can ?not|can['’]t|won['’]t|will not|must decline to|am not allowed to) "
    r"(?:help|assist|provide|answer|do that|comply|fulfil|create|write|give|offer|engage|support"
    r"|generate|continue|discuss|share)"
    r"|\bi (?:must|have to) (?:respectfully )?(?:decline|refuse)\b"
    r"|\b(?:not (?:appropriate|ethical)|against my (?:guidelines|policy|programming))\b"
)
REFUSAL_CHARS = 300  # Choice: who refuses says so at the beginning
_HEDGE = re.compile(
    r"\b(?:perhaps|maybe|possibly|it depends|it['’]s important to (?:note|remember)"
    r"|it is important to (?:note|remember)|i think|i believe|in my opinion|not sure"
    r"|may or may not|consult (?:a|an|with|your))\b"
)

# Feature → where in a text it shows; one that is not here shows at the beginning.
_SIGNS = {
    "headings": _HEADING, "list_items": _LIST_ITEM, "bold": _BOLD, "tables": _TABLE_ROW,
    "code_blocks": _FENCE, "links": _LINK, "emoji": _EMOJI, "exclamations": re.compile("!"),
    "questions": re.compile(r"\?"), "refusal": _REFUSAL, "hedges": _HEDGE,
}  # fmt: skip


def features(
    store: Store, text_ids: Sequence[str] | pd.Index, conversations: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the features of texts, one row each, by text id; those kept are not computed again.

    Args:
        text_ids: in an index each once.
        conversations: which of them hold a prompt's messages: read as what was said.
    """
    ids = text_ids if isinstance(text_ids, pd.Index) else pd.Index(text_ids, dtype=object).unique()
    path = store.data / "cache" / "features.npz"
    known = kept.read(path, MADE_WITH) or _nothing()
    keys = keys_of(ids.to_numpy())
    places, there = _found(known["keys"], keys)
    new = ids.to_numpy()[~there]
    if len(new):
        known = _merged(known, keys_of(new), _computed(store, new, set(conversations)))
        if len(new) >= SAVE_AFTER:
            kept.write(path, MADE_WITH, **known)
        places, _ = _found(known["keys"], keys)
    return pd.DataFrame({name: known[name][places] for name in FEATURES}, index=ids)


def keys_of(ids: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Return the first 8 bytes of text ids (hexadecimal SHA-256) as numbers.

    Two of a million texts share a key with a chance of 3e-8.
    """
    digits = ids.astype("S16").tobytes().decode("ascii")
    return np.frombuffer(bytes.fromhex(digits), dtype=">u8").astype(np.uint64)


def _nothing() -> dict[str, npt.NDArray[Any]]:
    columns = {name: np.empty(0, dtype=kind) for name, kind in FEATURES.items()}
    return {"keys": np.empty(0, dtype=np.uint64), **columns}


def _found(
    known: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return where each key stands among the known, sorted ones, and whether it does."""
    order = np.argsort(keys)  # looked for in their order, near each other in memory
    places = np.empty(len(keys), dtype=np.intp)
    places[order] = np.searchsorted(known, keys[order])
    if not len(known):
        return places, np.zeros(len(keys), dtype=bool)
    places = np.minimum(places, len(known) - 1)
    return places, known[places] == keys


def _merged(
    known: Mapping[str, npt.NDArray[Any]],
    keys: npt.NDArray[np.uint64],
    new: Mapping[str, npt.NDArray[Any]],
) -> dict[str, npt.NDArray[Any]]:
    """Return the known features and the new ones, sorted by key."""
    both = np.concatenate([known["keys"], keys])
    order = np.argsort(both, kind="stable")
    columns = {name: np.concatenate([known[name], new[name]])[order] for name in FEATURES}
    return {"keys": both[order], **columns}


def _computed(store: Store, ids: npt.NDArray[Any], spoken: set[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the features of texts, computed now; a text that was erased is blank."""
    rows = []
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        contents = store.texts(part)
        for id in part:
            text = contents.get(id, "")
            rows.append(text_features(said(text) if id in spoken and text else text))
    return {
        name: np.array([min(row[name], _most(kind)) for row in rows], dtype=kind)
        for name, kind in FEATURES.items()
    }


def _most(kind: str) -> int:
    return 1 if kind == "b1" else int(np.iinfo(np.dtype(kind)).max)


def said(messages: str) -> str:
    """Return what a conversation's messages say, one after the other."""
    return "\n\n".join(message["content"] for message in json.loads(messages))


def text_features(text: str) -> dict[str, int]:
    """Return what a text is like: FEATURES → number; 1 and 0 stand for yes and no.

    Style is looked for in the first 50,000 characters; blank, cut off and personal data in the
    whole text.

    Example:
        >>> some = text_features("Sure! **Two** things:\\n- a\\n- b\\n\\nI hope this helps.")
        >>> OPENINGS[some["opening"]], some["bold"], some["list_items"], CLOSINGS[some["closing"]]
        ('eager', 1, 2, 'offer')
    """
    whole, text = text, text[:MAX_LOOK]
    names = named(text)
    return {
        "words": len(whole.split()),
        "blank": int(not whole.strip()),
        "cut_off": int(is_cut_off(whole)),
        "broken": int(is_broken(text)),
        "headings": _count(_HEADING, text, "#"),
        "list_items": len(_LIST_ITEM.findall(text)),
        "bold": _count(_BOLD, text, "**", "__"),
        "tables": _count(_TABLE_ROW, text, "|"),
        "code_blocks": (_count(_FENCE, text, "```", "~~~") + 1) // 2,
        "links": _count(_LINK, text, "http", "]("),
        "emoji": 0 if text.isascii() else len(_EMOJI.findall(text)),
        "exclamations": text.count("!"),
        "questions": text.count("?"),
        "opening": opening_of(text),
        "closing": closing_of(whole),
        "refusal": int(_REFUSAL.search(text[:REFUSAL_CHARS].lower()) is not None),
        "hedges": len(_HEDGE.findall(text.lower())),
        "claims": claimed(text) if names else 0,
        "names": names,
        **personal_kinds(whole),
    }


def _count(pattern: re.Pattern[str], text: str, *signs: str) -> int:
    """Return how often a pattern is in a text; quick where none of its signs is."""
    return len(pattern.findall(text)) if any(sign in text for sign in signs) else 0


def excerpt(text: str, feature: str) -> str:
    """Return a line of a text that shows a feature, from a few words before its first sign on.

    Still the words of others: they are shown as plain text only.

    Example:
        >>> excerpt("It is blue.\\n\\nLet me know!", "exclamations")
        'It is blue. Let me know!'
        >>> excerpt("word " * 50 + "**bold** " + "word " * 50, "bold")
        '… word word word word word **bold** word word word word word word word word wor…'
    """
    text = text.strip()
    first = _first_sign(text, feature)
    start = max(0, first - QUOTE_BEFORE)
    if start and " " in text[start:first]:  # no half word
        start = text.index(" ", start)
    line = ("… " if start else "") + " ".join(text[start : start + 2 * QUOTE_CHARS].split())
    return line if len(line) <= QUOTE_CHARS else line[: QUOTE_CHARS - 1].rstrip() + "…"


def _first_sign(text: str, feature: str) -> int:
    """Return where a feature first shows in a text; a closing without a sign, near the end."""
    if feature != "closing":
        found = _SIGNS[feature].search(text[:MAX_LOOK].lower()) if feature in _SIGNS else None
        return found.start() if found else 0
    begins = max(0, len(text) - CLOSE_CHARS)
    ends = (pattern.search(text[begins:].lower()) for pattern in _CLOSES.values())
    tail = len(text) - QUOTE_CHARS + QUOTE_BEFORE
    return next((begins + end.start() for end in ends if end), max(0, tail))


def opening_of(text: str) -> int:
    """Return which of OPENINGS a text begins with.

    Example:
        >>> OPENINGS[opening_of("I'm sorry, but no.")], OPENINGS[opening_of("Surely not.")]
        ('sorry', '')
    """
    start = text[:80].lstrip(" \t\n*_#>\"'“").lower()
    for number, name in enumerate(OPENINGS):
        if name and _OPENS[name].match(start):
            return number
    return 0


def closing_of(text: str) -> int:
    """Return which of CLOSINGS a text ends with; a question only where it is nothing else."""
    end = text.rstrip()[-CLOSE_CHARS:].lower()
    for number, name in enumerate(CLOSINGS):
        if name in _CLOSES and _CLOSES[name].search(end):
            return number
    return CLOSINGS.index("question") if end.endswith("?") else 0


def is_cut_off(text: str) -> bool:
    """Say whether a text ends in the middle: of a code block, or of a sentence of eight words on.

    A last line that is a list item, a heading or a row of a table needs no full stop; neither does
    a text that ends in an emoji or in writing without spaces.

    Example:
        >>> is_cut_off("The three largest rivers of Europe are the Volga, the")
        True
        >>> is_cut_off("Paris"), is_cut_off("It is the capital of the whole country of France.")
        (False, False)
    """
    end = text.rstrip()
    if len(_FENCE.findall(end)) % 2 if "```" in end or "~~~" in end else False:
        return True
    last = end[end.rfind("\n") + 1 :]
    if not end or _LAST_LIST_ITEM.match(last) or not (last[-1].isascii() or last[-1].islower()):
        return False
    return _END.search(end[-1]) is None and len(end[-2_000:].split()) >= CUT_WORDS


def is_broken(text: str) -> bool:
    """Say whether a text repeats itself on and on, or shows what no reader should see.

    That is a chat template's control tokens, or characters that could not be decoded.

    Example:
        >>> is_broken("and so on " * 30), is_broken("Hello<|im_end|>"), is_broken("Hello.")
        (True, True, False)
    """
    if _CONTROL.search(text):
        return True
    words = text[:20_000].split()
    if len(words) < LOOP_WORDS:
        return False
    triples = len(words) - 2
    return len(set(zip(words, words[1:], words[2:], strict=False))) < LOOP_SHARE * triples
