"""Validate and record a vote, a rating, an edit, and what takes one back.

Everything that records a verdict goes through here: the screens, REST, simulated labelers. Whether
a revision is the next one, and what a repeated id gets, the store decides, because only there it
can be decided once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from feedback.items import NewResponse, add_responses
from feedback.ordering import left_of
from feedback.values import (
    check_id,
    check_revision,
    check_seconds,
    one_of,
    plain_text,
    several_of,
    shown,
)
from storage.errors import BadInput, NotFound
from storage.records import (
    THUMBS,
    VERDICTS,
    Assignment,
    Campaign,
    Comparison,
    Edit,
    Rating,
    Receipt,
    Response,
    Text,
    Vote,
)

if TYPE_CHECKING:
    from storage.store import Store

SIDES = ("left", "right")
REASONS = (  # what a verdict was about, for better or worse; optional
    "accuracy",
    "instructions",
    "completeness",
    "clarity",
    "length",
    "tone",
    "language",
    "safety",
    "other",
)
MAX_COMMENT_CHARS = 10_000
MAX_EDIT_CHARS = 100_000


def cast_vote(store: Store, labeler: str, **said: Any) -> Receipt:
    """Record a verdict on two answers; durable when it returns. See `vote_of`.

    Raises:
        Conflict: This revision is taken, or is not the next.
    """
    return store.append(*vote_of(store, labeler, **said))


def cast_rating(store: Store, labeler: str, **said: Any) -> Receipt:
    """Record a verdict on one answer; as `cast_vote` otherwise."""
    return store.append(*rating_of(store, labeler, **said))


def vote_of(
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
) -> tuple[Vote, list[Text]]:
    """Return the vote that a labeler's verdict on two answers is, and the texts it refers to.

    Args:
        id: UUID made by the client; sent again, it gets the same answer.
        assignment: What the server gave this labeler to judge.
        verdict: "left" or "right" as the labeler saw them; or "a", "b" in the comparison's own
            terms; or "tie", "both_bad", "skip"; "undone" takes the last verdict back.
        revision: 0 for the first verdict on this assignment, one more for each change or undo.
        seconds_spent: From showing to voting.

    Raises:
        BadInput: A value is not what it has to be.
        NotFound: There is no such assignment for this labeler.
    """
    place = assignment_of(store, labeler, assignment)
    return new_vote(
        place,
        id=id,
        verdict=verdict,
        revision=revision,
        reasons=reasons,
        comment=comment,
        seconds_spent=seconds_spent,
        known=known_reasons(store, place, reasons),
    )


def rating_of(
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
) -> tuple[Rating, list[Text]]:
    """Return the rating that "up", "down", "skip" or "undone" on one answer is; as `vote_of`."""
    place = assignment_of(store, labeler, assignment)
    return new_rating(
        place,
        id=id,
        verdict=verdict,
        revision=revision,
        reasons=reasons,
        comment=comment,
        seconds_spent=seconds_spent,
        known=known_reasons(store, place, reasons),
    )


def save_edit(
    store: Store,
    labeler: str,
    *,
    id: str,
    assignment: str,
    revision: int,
    side: str,
    text: str,
    seconds_spent: float | None = None,
) -> Receipt:
    """Record a corrected answer as a response of its own, preferred to the original.

    Edits of one assignment have their own revisions, apart from the votes on it. An empty `text`
    takes the last edit back.

    Args:
        side: Which answer was corrected, "left" or "right"; "left" where one answer is rated.
        text: The whole corrected answer, up to 100,000 characters.
    """
    place = assignment_of(store, labeler, assignment)
    check_id(id)
    check_revision(revision)
    seconds = check_seconds(seconds_spent)
    original = _response_on(store, place, side)
    text = plain_text(text, "text", MAX_EDIT_CHARS)
    if text == "" and revision == 0:
        raise BadInput("text is empty: write the corrected answer (there is no edit to take back).")
    correction = None if text == "" else _correction(original, text)
    edit = Edit(
        id=id,
        assignment=place.id,
        revision=revision,
        original=original.id,
        corrected="" if correction is None else correction.id(),
        labeler=place.labeler,
        seconds_spent=seconds,
        source=place.source,
    )
    if correction is not None and store.get(Edit, id) is None:
        store.check_next(edit)  # no edit would tell whose a refused one's text is
        add_responses(store, [correction])
    return store.append(edit)


def text_to_edit(store: Store, labeler: str, assignment: str, side: str) -> str:
    """Return the answer on a side as it is stored, for the labeler who starts to correct it.

    Raises:
        NotFound: There is no such assignment for this labeler, or its text was erased.
    """
    response = _response_on(store, assignment_of(store, labeler, assignment), side)
    text = store.texts([response.text]).get(response.text)
    if text is None:
        said = f"The text of the response {response.id} was erased: skip this item."
        raise NotFound(said, code="erased")
    return text


def known_reasons(store: Store, place: Assignment, given: Sequence[str]) -> tuple[str, ...]:
    """Return the reasons that a verdict may have: the usual ones, and its campaign's."""
    if not isinstance(given, Sequence) or all(reason in REASONS for reason in given):
        return REASONS  # nearly always, and without a look into the store
    campaign = store.get(Campaign, place.campaign)
    own = campaign.reasons if campaign else ()
    return tuple(dict.fromkeys((*own, *REASONS)))


def assignment_of(store: Store, labeler: str, id: str) -> Assignment:
    """Return the labeler's own assignment; another person's is as good as not there."""
    found = store.get(Assignment, plain_text(id, "assignment", 200))
    if found is None:
        raise NotFound(f"There is no assignment {shown(id)}: reload the page to get the next item.")
    if found.labeler != labeler:
        raise NotFound(
            f"The assignment {shown(id)} was given to somebody else, not to {shown(labeler)}: "
            "reload the page to get items of your own."
        )
    return found


def new_vote(
    place: Assignment,
    *,
    id: str,
    verdict: str,
    revision: int,
    reasons: Sequence[str] = (),
    comment: str = "",
    seconds_spent: float | None = None,
    known: Sequence[str] = REASONS,
) -> tuple[Vote, list[Text]]:
    """Return the vote, validated and in the comparison's own terms, and the texts it refers to."""
    if not place.comparison:
        raise BadInput("This assignment shows one answer: rate it with up or down (POST /ratings).")
    check_id(id)
    check_revision(revision)
    own = _own_verdict(place, verdict, revision)
    seconds = check_seconds(seconds_spent)
    reasons = several_of(reasons, known, "reasons")
    texts = _comment(comment)
    vote = Vote(
        id=id,
        assignment=place.id,
        revision=revision,
        comparison=place.comparison,
        labeler=place.labeler,
        verdict=own,
        reasons=reasons,
        comment=texts[0].id if texts else "",
        seconds_spent=seconds,
        source=place.source,
    )
    return vote, texts


def new_rating(
    place: Assignment,
    *,
    id: str,
    verdict: str,
    revision: int,
    reasons: Sequence[str] = (),
    comment: str = "",
    seconds_spent: float | None = None,
    known: Sequence[str] = REASONS,
) -> tuple[Rating, list[Text]]:
    """Return the rating, validated, and the texts it refers to."""
    if not place.response:
        raise BadInput("This assignment shows two answers: vote left or right (POST /votes).")
    check_id(id)
    check_revision(revision)
    one_of(verdict, THUMBS, "verdict")
    _nothing_to_undo(verdict, revision)
    texts = _comment(comment)
    rating = Rating(
        id=id,
        assignment=place.id,
        revision=revision,
        response=place.response,
        labeler=place.labeler,
        verdict=verdict,
        reasons=several_of(reasons, known, "reasons"),
        comment=texts[0].id if texts else "",
        seconds_spent=check_seconds(seconds_spent),
        source=place.source,
    )
    return rating, texts


def side_of(place: Assignment, verdict: str) -> str:
    """Return a stored verdict as the labeler saw it: "a" and "b" become "left" and "right"."""
    if verdict not in ("a", "b"):
        return verdict
    return "left" if verdict == (left_of(place) or "a") else "right"


def _own_verdict(place: Assignment, verdict: str, revision: int) -> str:
    """Return the verdict in the comparison's own terms, by the sides the server drew."""
    one_of(verdict, (*SIDES, *VERDICTS), "verdict")
    _nothing_to_undo(verdict, revision)
    if verdict not in SIDES:
        return verdict
    return _letter_on(place, verdict)


def _letter_on(place: Assignment, side: str) -> str:
    """Return which response, "a" or "b", stands on a side."""
    if (left := left_of(place)) not in ("a", "b"):
        raise BadInput(f"Nobody recorded the sides of assignment {place.id}: vote a or b instead.")
    other = "b" if left == "a" else "a"
    return left if side == "left" else other


def _response_on(store: Store, place: Assignment, side: str) -> Response:
    """Return the response that stands on a side of an assignment."""
    one_of(side, SIDES, "side")
    if place.comparison:
        comparison = store.get(Comparison, place.comparison)
        if comparison is None:
            raise NotFound(f"The comparison {place.comparison} is not there: reload the page.")
        id = comparison.a if _letter_on(place, side) == "a" else comparison.b
    elif side == "left":
        id = place.response
    else:
        raise BadInput("side is 'right', but this assignment shows one answer only: use 'left'.")
    response = store.get(Response, id)
    if response is None:
        raise NotFound(f"The response {id} is not there: reload the page.")
    return response


def _correction(original: Response, text: str) -> NewResponse:
    """Return a person's version of an answer, to be stored."""
    if not text.strip():
        raise BadInput("text has only white space: write the corrected answer.")
    if Text.of(text).id == original.text:
        raise BadInput("text is the same as the answer: change something, or just vote for it.")
    return NewResponse(original.prompt, text, "human", finished=True, source="edit")


def _nothing_to_undo(verdict: str, revision: int) -> None:
    if verdict == "undone" and revision == 0:
        raise BadInput("verdict is 'undone' at revision 0: there is no verdict to take back yet.")


def _comment(comment: str) -> list[Text]:
    """Return the comment as a text to store, or nothing when it is empty."""
    comment = plain_text(comment, "comment", MAX_COMMENT_CHARS).strip()
    return [Text.of(comment)] if comment else []
