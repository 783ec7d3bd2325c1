"""Record an order of three or four answers: a vote on each two of them, all in one commit."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from feedback.ordering import SAME_FOR_ALL, implied, letters_of, possible_places, size_of
from feedback.values import check_id, check_revision, check_seconds, shown
from feedback.votes import assignment_of, known_reasons, new_vote
from storage.errors import Conflict, NotFound, UserError
from storage.records import Assignment, Receipt, Vote

if TYPE_CHECKING:
    from storage.store import Store


def cast_ranking(
    store: Store,
    labeler: str,
    *,
    id: str,
    assignment: str,
    verdict: str,
    revision: int,
    reasons: Sequence[str] = (),
    comment: str = "",
    seconds_spent: float | None = None,
) -> Receipt:
    """Record an order as a vote on each two of the answers; durable when it returns.

    The votes' ids follow from `id`, and they go into one commit. After a kill in the middle the
    same request again adds what is missing. Each vote carries the reasons and the comment.

    Args:
        id: UUID made by the client; sent again, it gets the same answer.
        assignment: The ranking that the server gave this labeler.
        verdict: An order such as "B>A=C"; or "skip"; "undone" takes the last one back.
        revision: 0 for the first verdict, one more for each change or undo.
        seconds_spent: From showing to sending. Each vote gets two of the `size` equal parts, the
            time for its two answers, so that what is asked of a vote (was it read?) can be asked
            of these. Their sum is `size` - 1 times the time that was spent.

    Raises:
        BadInput: A value is not what it has to be.
        NotFound: There is no such ranking for this labeler.
        Conflict: This revision is taken, or is not the next.
    """
    check_id(id)
    check_revision(revision)
    seconds = check_seconds(seconds_spent)
    size, places = size_of(assignment), _own_places(store, labeler, assignment)
    letters = [letters_of(place) for place in places]
    part = None if seconds is None else round(seconds * 2 / size, 3)
    said = dict.fromkeys(letters, verdict) if verdict in SAME_FOR_ALL else implied(verdict, size)
    made = [
        new_vote(
            place,
            id=str(uuid.uuid5(uuid.UUID(id), two)),
            verdict=said[two],
            revision=revision,
            reasons=reasons,
            comment=comment,
            seconds_spent=part,
            known=known_reasons(store, place, reasons),
        )
        for place, two in zip(places, letters, strict=True)
    ]
    votes = [vote for vote, _ in made]
    _refuse_a_mixture(store, votes)
    answers = store.append_many(votes, made[0][1])
    for answer in answers:
        if isinstance(answer, UserError):
            raise answer
    return Receipt(id, all(isinstance(one, Receipt) and one.repeated for one in answers))


def _own_places(store: Store, labeler: str, ranking: str) -> list[Assignment]:
    """Return the assignments of a labeler's ranking, that of A and B first."""
    found = store.found(Assignment, possible_places(ranking))
    if not found:
        raise NotFound(f"There is no ranking {shown(ranking)}: reload the page to get one.")
    return [assignment_of(store, labeler, id) for id in sorted(found)]


def _refuse_a_mixture(store: Store, votes: Sequence[Vote]) -> None:
    """Refuse votes some of which would be taken and others not, unless those are stored already."""
    heads = {vote.id: store.live(Vote, vote.assignment) for vote in votes}
    reached = {id: -1 if head is None else head.revision for id, head in heads.items()}
    if len(set(reached.values())) == 1:
        return  # all are taken, or none
    known = store.found(Vote, reached)
    if odd := [v for v in votes if reached[v.id] != v.revision - 1 and v.id not in known]:
        raise Conflict(
            f"The pair {odd[0].assignment[-3:-1]} of this ranking was judged by itself: reload the "
            "page to see it."
        )
