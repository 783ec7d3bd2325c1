"""What is being collected, and from whom: the default campaign, and how people are called."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from feedback.values import plain_text, shown
from storage.errors import BadInput, Conflict
from storage.records import Campaign, Labeler

if TYPE_CHECKING:
    from storage.store import Store

DEFAULT = "default"
MAX_OVERLAP = 100  # Choice: more people never judged one comparison, and a typing error shows.
# Choice: at most half of somebody's items may measure them; the other half is what they came for.
MAX_MEASURING = 0.5
MAX_GUIDELINE_CHARS = 100_000  # Choice: fifty pages; nobody reads more before voting.
RESERVED = ("sim-", "imported", "judge:", "user:")  # how names start that no person may take
MAX_NAME_CHARS = 80
_NOT_IN_NAMES = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories: controls, line breaks, …
_BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # turn the text around them

GUIDELINE = """\
**Which answer would you rather have got?** Read the prompt, then both answers to the end.

1. **Does it answer what was asked?** An answer that ignores part of the request, or breaks a
   limit it sets ("in one sentence"), loses to one that does not.
2. **Is it right?** Look for wrong facts, wrong sums and invented details. A short correct answer
   beats a long one with a mistake.
3. **Is it good to read?** Clear, complete, no repetition, a fitting tone.

- **Length is not quality.** Choose the longer answer only for what it adds.
- **Tie**: you would be equally happy with either. **Both are bad**: you would want neither.
  **Skip**: you cannot judge it.
- Judge the text, not which model may have written it. The sides are drawn by lot.
- If one answer is nearly right, **Edit** it: your version becomes the preferred one.
- Changed your mind? **Undo** works as often as you like.
"""


def default_campaign(store: Store) -> Campaign:
    """Return the default campaign; when it is not there yet, make it, one vote per comparison."""
    campaign = store.get(Campaign, DEFAULT)
    if campaign is None:
        store.add([Campaign(DEFAULT, "Everything", GUIDELINE, overlap=1)])
        campaign = store.get(Campaign, DEFAULT)
        assert campaign is not None, "a row that was added is there"
    return campaign


def set_guideline(store: Store, text: str) -> Campaign:
    """Replace the default campaign's guideline (Markdown) and return the campaign.

    Raises:
        BadInput: The text is empty, too long, or not storable.
    """
    text = plain_text(text, "guideline", MAX_GUIDELINE_CHARS)
    if not text.strip():
        raise BadInput("guideline is empty: write at least one sentence for the labelers.")
    campaign = replace(default_campaign(store), guideline=text)
    store.update(campaign)
    return campaign


def set_collecting(
    store: Store,
    *,
    overlap: int | None = None,
    shared: float | None = None,
    repeats: float | None = None,
    gold: float | None = None,
) -> Campaign:
    """Change how many judge what, and how much measures them; return the campaign. None: as it is.

    Args:
        overlap: Labelers that judge each comparison, from 1.
        shared: Share of the comparisons, 0..1, that one more labeler judges; a third of them, two.
        repeats: Share of a labeler's items, 0..1, that silently repeat an earlier one.
        gold: Share of a labeler's items, 0..1, whose right verdict is known.

    Raises:
        BadInput: Says every value that cannot be, and what can.
    """
    asked = {"overlap": overlap, "shared": shared, "repeats": repeats, "gold": gold}
    changed: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    campaign = replace(default_campaign(store), **changed)
    shares = {name: value for name, value in changed.items() if name != "overlap"}
    if wrong := wrong_shares(campaign, shares):
        raise BadInput(" ".join(wrong))
    floats: dict[str, Any] = {
        name: float(value) for name, value in changed.items() if name != "overlap"
    }
    campaign = replace(campaign, **floats)
    store.update(campaign)
    return campaign


def wrong_shares(campaign: Campaign, shares: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each number of a campaign that cannot be.

    Args:
        shares: Those that were asked for, by name; None was not.
    """
    wrong = [
        f"{name} is {shown(value)}: use a share from 0 to 1."
        for name, value in shares.items()
        if value is not None and not (_is_number(value) and 0 <= value <= 1)
    ]
    overlap = campaign.overlap
    if type(overlap) is not int or not 1 <= overlap <= MAX_OVERLAP:
        wrong.append(f"overlap is {shown(overlap)}: use a whole number from 1 to {MAX_OVERLAP}.")
    if not wrong and (measuring := campaign.repeats + campaign.gold) > MAX_MEASURING:
        wrong.append(
            f"repeats and gold together are {measuring:.2f} of somebody's items: use at most "
            f"{MAX_MEASURING}, since they judge nothing new."
        )
    return wrong


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def sign_in(store: Store, name: str) -> Labeler:
    """Return the person of that name; add them when they are new.

    Raises:
        BadInput: Empty, longer than 80 characters, with control characters, or reserved.
        Conflict: The name belongs to a simulated or imported labeler.
    """
    name = labeler_name(name)
    labeler = store.get(Labeler, name)
    if labeler is None:
        store.add([Labeler(name, "person")])
        labeler = store.get(Labeler, name)
        assert labeler is not None, "a row that was added is there"
    if labeler.kind != "person":
        raise Conflict(
            f"{shown(name)} is a labeler from an import or a simulation: use another name.",
            code="name_kept",
        )
    return labeler


def labeler_name(name: object) -> str:
    """Return a person's name, trimmed and in one Unicode form (NFC).

    >>> labeler_name("  Ada Lovelace ")
    'Ada Lovelace'
    """
    name = one_line(name, "name")
    if name.casefold().startswith(RESERVED):
        raise BadInput(
            f"name is {shown(name)}: names that start with {' or '.join(RESERVED)} are kept for "
            "simulated and imported labelers, judges and a product's users; use another.",
            code="name_kept",
        )
    return name


def one_line(name: object, what: str) -> str:
    """Return a name, trimmed and in one Unicode form (NFC).

    Raises:
        BadInput: Empty, longer than 80 characters, or with control characters.
    """
    if not isinstance(name, str):
        raise BadInput(f"{what} is {shown(name)}: use a text.")
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        said = f"{what} has {len(name)} characters: use 1 to {MAX_NAME_CHARS}."
        raise BadInput(said, code="name_length")
    odd = next((c for c in name if unicodedata.category(c) in _NOT_IN_NAMES or c in _BIDI), None)
    if odd is not None:
        said = f"{what} has the control character U+{ord(odd):04X} in it: leave it out."
        raise BadInput(said, code="name_sign")
    return name
