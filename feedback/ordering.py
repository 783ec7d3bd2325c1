"""Three or four answers to one prompt put in an order, and the votes that it implies.

A ranking is no record of its own. It is the votes on each two of its k answers, k (k - 1) / 2 in
all, on assignments whose ids say that they belong together ("rank3:<uuid>:ABb": of the answers that
stand as A and B, where the comparison's "b" is A). So whatever reads votes reads rankings, and half
of one is a few votes on pairs. An order is a text, the best answer first: "B>A=C" says that A and C
are equally good. Pure.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

from feedback.values import shown
from storage.errors import BadInput
from storage.records import Assignment, Campaign

RANKS = {"rank3": 3, "rank4": 4}  # a campaign's mode → answers that are ranked at once
LETTERS = "ABCD"  # as the answers stand on the page
# Of a ranking's pairs those whose sides are told to the checks: no two of them share an answer, so
# that under an order drawn by lot they are as independent as so many tosses of a coin. All six of
# four answers are not: who ranks A>B>C>D, once in 24 times, would have chosen "left" six times.
SIDES_TOLD = ("AB", "CD")
SAME_FOR_ALL = ("skip", "undone")  # verdicts besides orders

_PLACE = re.compile(r"(rank([34]):[0-9a-f-]{36}):([A-D]{2})([ab])")


def ranked_at_once(campaign: Campaign) -> int:
    """Return how many answers a campaign has ranked at once; 0 where they are judged in pairs."""
    return RANKS.get(campaign.mode, 0)


def new_ranking(size: int) -> str:
    """Return the id of a ranking of `size` answers, which no other has."""
    return f"rank{size}:{uuid.uuid4()}"


def ranking_of(assignment: str) -> str:
    """Return the id of the ranking that an assignment belongs to; "" where it is a pair's own.

    >>> ranking_of("rank3:6ba7b810-9dad-11d1-80b4-00c04fd430c8:ACa")
    'rank3:6ba7b810-9dad-11d1-80b4-00c04fd430c8'
    """
    found = _PLACE.fullmatch(assignment)
    return found[1] if found else ""


def size_of(ranking: str) -> int:
    """Return how many answers a ranking has; 0 if it is none's id."""
    found = _PLACE.fullmatch(f"{ranking}:ABa")
    return int(found[2]) if found else 0


def place_id(ranking: str, two: str, left: str) -> str:
    """Return the id of the assignment of two answers; `left`: which of the comparison's leads."""
    return f"{ranking}:{two}{left}"


def possible_places(ranking: str) -> list[str]:
    """Return the ids that a ranking's assignments may have, two for each two of its answers."""
    return [place_id(ranking, two, left) for two in twos(size_of(ranking)) for left in "ab"]


def letters_of(place: Assignment) -> str:
    """Return as what the answers of a ranking's assignment stand, such as "AC"."""
    return place.id[-3:-1]


def left_of(place: Assignment) -> str:
    """Return which response, "a" or "b", stands first, also where the checks are not told.

    "" where nobody knows.
    """
    return place.left or (place.id[-1] if ranking_of(place.id) else "")


def twos(size: int) -> list[str]:
    """Return each two of so many answers.

    >>> twos(3)
    ['AB', 'AC', 'BC']
    """
    return ["".join(two) for two in combinations(LETTERS[:size], 2)]


def implied(order: str, size: int) -> dict[str, str]:
    """Return which of each two answers an order puts first: "left" the one that stands earlier.

    Raises:
        BadInput: It does not name each of the `size` answers once.

    >>> implied("B>A=C", 3)
    {'AB': 'right', 'AC': 'tie', 'BC': 'left'}
    """
    ranks = {
        letter: rank for rank, level in enumerate(order.split(">")) for letter in level.split("=")
    }
    if sorted(order.replace(">", "").replace("=", "")) != sorted(ranks) or (
        sorted(ranks) != list(LETTERS[:size])
    ):
        raise BadInput(
            f"verdict is {shown(order)}: name each of {', '.join(LETTERS[:size])} once, the best "
            'first, as in "B>A=C"; or use skip or undone.'
        )
    return {two: _first(ranks[two[0]], ranks[two[1]]) for two in twos(size)}


def _first(one: int, other: int) -> str:
    return "tie" if one == other else "left" if one < other else "right"


def order_of(said: Mapping[str, str]) -> str:
    """Return the order that verdicts on each two answers make; "" where they make none.

    >>> order_of({"AB": "right", "AC": "tie", "BC": "left"})
    'B>A=C'
    >>> order_of({"AB": "left", "AC": "right", "BC": "left"})
    ''
    """
    letters = sorted(set("".join(said)))
    ahead = dict.fromkeys(letters, 0)
    for two, verdict in said.items():
        step = {"left": 1, "right": -1}.get(verdict, 0)
        ahead[two[0]] += step
        ahead[two[1]] -= step
    levels = sorted(set(ahead.values()), reverse=True)
    order = ">".join("=".join(x for x in letters if ahead[x] == level) for level in levels)
    return order if implied(order, len(letters)) == said else ""


def wholes(places: Iterable[Assignment]) -> Iterator[list[Assignment]]:
    """Yield what is shown at once: all assignments of a ranking, or one where some are missing."""
    of: dict[str, list[Assignment]] = {}
    for place in places:
        of.setdefault(ranking_of(place.id) or place.id, []).append(place)
    for id, group in of.items():
        if len(group) > 1 and len(group) == len(twos(size_of(id))):
            yield sorted(group, key=lambda place: place.id)
        else:
            yield from ([place] for place in group)
