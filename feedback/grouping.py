"""Which answers to one prompt are ranked together, and the assignments that a ranking is made of.

A campaign that ranks takes the same comparisons as one that judges pairs. Answers are ranked
together where each two of them may still be judged; comparisons that are missing are added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from feedback.items import add_comparisons
from feedback.ordering import LETTERS, SIDES_TOLD, new_ranking, place_id
from feedback.queue import PLAIN, Candidate, Random, choose
from storage.records import DUEL, Assignment, Comparison, Response

if TYPE_CHECKING:
    from storage.store import Store

# Choice: of one prompt's answers; 16 make 1,820 fours to look through, which takes milliseconds.
MOST_ANSWERS = 16
PROMPTS_AT_ONCE = 20  # whose comparisons are read together, while rankings are still wanted


def choose_answers(
    store: Store, open: Sequence[Candidate], size: int, n: int, rng: Random
) -> list[list[Response]]:
    """Return up to `n` times `size` answers to one prompt, each in the order in which to stand.

    They are answers of open comparisons, to prompts of no duel: those are decided by pairs alone.

    Args:
        open: Comparisons that the labeler may be given, in any order.
        rng: Draws the prompts among equally wanted ones, and the order.
    """
    prompt_of = {one.item: one.prompt for one in open}
    prompts = list(dict.fromkeys(prompt_of[id] for id in choose(open, len(open), rng)))
    groups: list[list[Response]] = []
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        if len(groups) >= n:
            break
        groups += _groups(store, prompts[start : start + PROMPTS_AT_ONCE], prompt_of, size)
    return [sorted(group, key=lambda _: rng.random()) for group in groups[:n]]


def _groups(
    store: Store, prompts: Sequence[str], open: Collection[str], size: int
) -> list[list[Response]]:
    """Return answers to rank together, of each of the prompts that has so many."""
    of: dict[str, list[Comparison]] = {prompt: [] for prompt in prompts}
    for pair in store.rows(Comparison, order="created_at, id", prompt=prompts):
        of[pair.prompt].append(pair)
    ranked = [some for some in of.values() if not any(p.source.startswith(DUEL) for p in some)]
    answers = store.found(Response, (id for some in ranked for p in some for id in (p.a, p.b)))
    texts = {id: answer.text for id, answer in answers.items()}
    groups = (group_of(some, open, texts, size) for some in ranked)
    return [[answers[id] for id in group] for group in groups if group]


def group_of(
    pairs: Iterable[Comparison], free: Collection[str], text_of: Mapping[str, str], size: int
) -> tuple[str, ...]:
    """Return answers to one prompt that may be ranked together, the earliest; () if there are none.

    Each is an answer of a comparison that may be judged, they differ in text, at least two of them
    are compared already, and no two of them in a comparison that may not be judged: one that the
    labeler had, that wants no more verdicts, that somebody skipped or left out.

    Args:
        pairs: All comparisons of the prompt, the oldest first.
        free: Ids of those that may be judged.
        text_of: Response id → the id of its text.
    """
    answers: dict[str, str] = {}  # text → response
    compared: set[frozenset[str]] = set()
    closed: set[frozenset[str]] = set()
    for pair in pairs:
        both = text_of[pair.a], text_of[pair.b]
        (compared if pair.id in free else closed).add(frozenset(both))
        if pair.id in free:
            answers.setdefault(both[0], pair.a)
            answers.setdefault(both[1], pair.b)
    for group in combinations(list(answers)[:MOST_ANSWERS], size):
        each = {frozenset(two) for two in combinations(group, 2)}
        if each & compared and not each & closed:
            return tuple(answers[text] for text in group)
    return ()


def new_places(
    store: Store, labeler: str, campaign: str, answers: Sequence[Response]
) -> list[Assignment]:
    """Return the assignments of a new ranking, one for each two answers, that of A and B first.

    Comparisons that are missing are added, with the source of one that is there: so they belong to
    the same campaigns.
    """
    pairs = store.rows(Comparison, order="created_at, id", prompt=answers[0].prompt)
    known = {frozenset((pair.a, pair.b)): pair for pair in reversed(pairs)}
    ranking = new_ranking(len(answers))
    places: list[Assignment] = []
    twos = list(combinations(zip(LETTERS, answers, strict=False), 2))
    there = [known.get(frozenset((left.id, right.id))) for (_, left), (_, right) in twos]
    source = next((pair.source for pair in there if pair), pairs[0].source)
    for (letter, left), (other, right) in twos:
        pair = known.get(frozenset((left.id, right.id)))
        if pair is None:
            (pair,) = add_comparisons(store, [(left, right)], source)
        first = "a" if _says(store, pair.a, left) else "b"
        places.append(
            Assignment(
                id=place_id(ranking, letter + other, first),
                campaign=campaign,
                labeler=labeler,
                comparison=pair.id,
                response="",
                left=first if letter + other in SIDES_TOLD else "",
                kind=PLAIN,
                source="screen",
            )
        )
    return places


def _says(store: Store, id: str, answer: Response) -> bool:
    """Return whether a response has an answer's text: a pair is known by its texts and models."""
    found = store.get(Response, id)
    return found is not None and found.text == answer.text
