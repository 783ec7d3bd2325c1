"""What the checks and the screens read: named queries that return columns; COLUMNS.

Each is a function of a reading cursor and keyword parameters that returns a pandas DataFrame, one
row per item, times in UTC. Live means: the highest revision of an assignment, unless that is
`undone`. Hashes of texts, never texts: those are fetched by `Store.texts` where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from storage.coded import coded_votes, vote_ids
from storage.duck import Cursor
from storage.live import LIVE_EDIT, LIVE_RATING, LIVE_VOTE, frame, large_frame, stored
from storage.open_items import (
    ADJUDICATED,
    EXCLUDED,
    GOLD,
    WANTED,
    given,
    open_comparisons,
    open_gold,
    open_repeats,
    open_responses,
    own_places,
    own_verdicts,
    reach,
    trial,
)
from storage.records import JUDGE

if TYPE_CHECKING:
    import pandas as pd

VOTES = f"""
SELECT v.id AS vote, v.assignment, v.comparison, c.prompt, v.labeler, v.verdict,
    coalesce(s."left", '') AS "left", coalesce(s.kind, 'plain') AS kind,
    ta.chars AS chars_a, tb.chars AS chars_b,
    a.text AS text_a, b.text AS text_b, a.model AS model_a, b.model AS model_b,
    v.seconds_spent, v.source, v.created_at
FROM ({LIVE_VOTE}) v
JOIN comparison c ON c.id = v.comparison
JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text
LEFT JOIN assignment s ON s.id = v.assignment
ORDER BY v.created_at, v.id"""

RATINGS = f"""
SELECT v.id AS rating, v.assignment, v.response, r.prompt, v.labeler, v.verdict,
    t.chars, r.text, r.model, r.source AS made, v.source, v.created_at
FROM ({LIVE_RATING}) v
JOIN response r ON r.id = v.response JOIN text t ON t.id = r.text
ORDER BY v.created_at, v.id"""

EDITS = f"""
SELECT v.id AS edit, v.assignment, o.prompt, v.original, v.corrected,
    o.text AS text_original, n.text AS text_corrected, v.labeler, v.source, v.created_at
FROM ({LIVE_EDIT}) v
JOIN response o ON o.id = v.original JOIN response n ON n.id = v.corrected
ORDER BY v.created_at, v.id"""

_COMPARED = """
SELECT c.id AS comparison, c.prompt, c.a, c.b, a.text AS text_a, b.text AS text_b,
    ta.chars AS chars_a, tb.chars AS chars_b, a.model AS model_a, b.model AS model_b,
    a.adapter AS adapter_a, b.adapter AS adapter_b, a.finished AS finished_a,
    b.finished AS finished_b, c.source, c.created_at{counts}
FROM comparison c
JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text{joins}
ORDER BY c.created_at, c.id"""

COMPARED = _COMPARED.format(counts="", joins="")  # without counting a million votes
COMPARISONS = _COMPARED.format(
    counts=", coalesce(v.votes, 0) AS votes, coalesce(s.assigned, 0) AS assigned",
    joins=f"""
LEFT JOIN (SELECT comparison, count(*) AS votes FROM ({LIVE_VOTE}) GROUP BY comparison) v
    ON v.comparison = c.id
LEFT JOIN (SELECT comparison, count(*) AS assigned FROM assignment GROUP BY comparison) s
    ON s.comparison = c.id""",
)

PROMPTS = """
SELECT p.id AS prompt, p.text, coalesce(k.cluster, p.cluster) AS cluster, p.source, p.created_at,
    coalesce(r.responses, 0) AS responses, coalesce(c.comparisons, 0) AS comparisons
FROM prompt p LEFT JOIN "cluster" k ON k.id = p.id
LEFT JOIN (SELECT prompt, count(*) AS responses FROM response GROUP BY prompt) r
    ON r.prompt = p.id
LEFT JOIN (SELECT prompt, count(*) AS comparisons FROM comparison GROUP BY prompt) c
    ON c.prompt = p.id
ORDER BY p.created_at, p.id"""

UNSETTLED = """
SELECT id AS prompt, created_at FROM prompt
WHERE "cluster" = '' AND id NOT IN (SELECT id FROM "cluster")
ORDER BY created_at, id"""

SIZES = """
SELECT (SELECT count(*) FROM prompt) AS prompts, (SELECT count(*) FROM response) AS responses,
    (SELECT count(*) FROM comparison) AS comparisons, (SELECT count(*) FROM labeler) AS labelers"""

RESPONSES = f"""
SELECT r.id AS response, r.prompt, r.text, t.chars, r.model, r.adapter, r.source, r.finished,
    r.created_at, coalesce(v.ratings, 0) AS ratings
FROM response r JOIN text t ON t.id = r.text
LEFT JOIN (SELECT response, count(*) AS ratings FROM ({LIVE_RATING}) GROUP BY response) v
    ON v.response = r.id
ORDER BY r.created_at, r.id"""

SCORES = """
SELECT response, model, adapter, logprob, tokens FROM score ORDER BY response, model, adapter"""

# The live votes that are not excluded, with what is counted of them; `reached` is the last number
# of the journal that is in it.
_COUNTED = f"""
WITH left_out AS ({EXCLUDED}),
reached AS (SELECT greatest(
    (SELECT coalesce(max(n), 0) FROM command), (SELECT coalesce(max(n), 0) FROM batch)
) AS n),
answer AS MATERIALIZED (
    SELECT r.id, t.chars FROM response r JOIN text t ON t.id = r.text
    WHERE r.id NOT IN (SELECT item FROM left_out WHERE kind = 'response')
),
compared AS MATERIALIZED (
    SELECT c.id, sign(a.chars - b.chars)::INT AS longer
    FROM comparison c JOIN answer a ON a.id = c.a JOIN answer b ON b.id = c.b
    WHERE c.id NOT IN (SELECT item FROM left_out WHERE kind = 'comparison')
        AND c.prompt NOT IN (SELECT item FROM left_out WHERE kind = 'prompt')
),
said AS (
    SELECT v.comparison, v.verdict, c.longer, coalesce(s."left", '') AS "left",
        coalesce(s.kind, 'plain') AS kind
    FROM ({LIVE_VOTE}) v JOIN compared c ON c.id = v.comparison
    LEFT JOIN assignment s ON s.id = v.assignment
    WHERE v.labeler NOT IN (SELECT item FROM left_out WHERE kind = 'labeler')
        AND v.source NOT IN (SELECT item FROM left_out WHERE kind = 'source')
        AND v.id NOT IN (SELECT item FROM left_out WHERE kind = 'vote')
)"""

# How many of them say what: `longer` is 1 where answer a has more characters, -1 where b has. One
# row at least; its verdict is NULL without votes.
METERS = f"""{_COUNTED}
SELECT reached.n, counted.* FROM reached LEFT JOIN (
    SELECT verdict, "left", longer, count(*) AS votes FROM said GROUP BY ALL
) counted ON true"""

# How often each comparison got each verdict that counts for a majority: silent repeats do not. One
# row at least; its comparison is NULL without votes.
MAJORITIES = f"""{_COUNTED}
SELECT reached.n, counted.* FROM reached LEFT JOIN (
    SELECT comparison, count(*) FILTER (verdict = 'a') AS a, count(*) FILTER (verdict = 'b') AS b,
        count(*) FILTER (verdict = 'tie') AS tie,
        count(*) FILTER (verdict = 'both_bad') AS both_bad
    FROM said WHERE kind != 'repeat' GROUP BY comparison
) counted ON true"""

# How far everybody is, to count on from there: n live votes and ratings of each labeler, n of them
# today, n live votes of people that judge each comparison. One row at least, as for the meters.
TALLY = f"""
WITH reached AS (SELECT greatest(
    (SELECT coalesce(max(n), 0) FROM command), (SELECT coalesce(max(n), 0) FROM batch)
) AS n),
v AS MATERIALIZED ({LIVE_VOTE}), r AS MATERIALIZED ({LIVE_RATING})
SELECT reached.n AS reached, counted.* FROM reached LEFT JOIN (
    SELECT 'vote' AS what, labeler AS item, count(*) AS n FROM v GROUP BY labeler
    UNION ALL SELECT 'rating', labeler, count(*) FROM r GROUP BY labeler
    UNION ALL SELECT 'today', labeler, count(*) FROM v WHERE created_at >= $today GROUP BY labeler
    UNION ALL SELECT 'today', labeler, count(*) FROM r WHERE created_at >= $today GROUP BY labeler
    UNION ALL SELECT 'judged', comparison, count(*) FROM v WHERE verdict != 'skip'
        AND source != '{JUDGE}' AND comparison IN (SELECT id FROM comparison) GROUP BY comparison
) counted ON true"""

LENGTHS = """
SELECT c.id AS comparison, ta.chars AS chars_a, tb.chars AS chars_b
FROM comparison c JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text"""

PROGRESS = f"""
WITH v AS ({LIVE_VOTE}), r AS ({LIVE_RATING}), mine AS (
    SELECT created_at FROM v WHERE labeler = $labeler
    UNION ALL SELECT created_at FROM r WHERE labeler = $labeler
)
SELECT (SELECT count(*) FROM mine) AS mine_total,
    (SELECT count(*) FROM mine WHERE created_at >= $today) AS mine_today,
    (SELECT count(*) FROM v) AS votes_total,
    (SELECT count(*) FROM r) AS ratings_total,
    (SELECT count(*) FROM comparison) AS comparisons_total,
    (SELECT count(*) FROM comparison ANTI JOIN (
        SELECT comparison FROM v WHERE verdict != 'skip' AND source != '{JUDGE}'
    ) judged ON judged.comparison = comparison.id) AS comparisons_open"""


def votes(cursor: Cursor) -> pd.DataFrame:
    """Return the live votes, skips among them; `left` is "" where nobody recorded it."""
    return frame(cursor, VOTES)


def ratings(cursor: Cursor) -> pd.DataFrame:
    """Return the live ratings."""
    return large_frame(cursor, RATINGS)


def edits(cursor: Cursor) -> pd.DataFrame:
    """Return the live edits."""
    return frame(cursor, EDITS)


def comparisons(cursor: Cursor) -> pd.DataFrame:
    """Return every comparison with its live votes and its assignments."""
    return frame(cursor, COMPARISONS)


def compared(cursor: Cursor) -> pd.DataFrame:
    """Return every comparison, without counting its votes and assignments."""
    return frame(cursor, COMPARED)


def prompts(cursor: Cursor) -> pd.DataFrame:
    """Return every prompt with its number of responses and comparisons; `cluster` is "" where it is
    not settled yet."""
    return large_frame(cursor, PROMPTS)


def unsettled(cursor: Cursor) -> pd.DataFrame:
    """Return the prompts whose near-duplicates are still to be looked for, oldest first."""
    return frame(cursor, UNSETTLED)


def sizes(cursor: Cursor) -> pd.DataFrame:
    """Return one row: how many prompts, responses, comparisons and labelers there are."""
    return frame(cursor, SIZES)


def responses(cursor: Cursor) -> pd.DataFrame:
    """Return every response with its live ratings."""
    return frame(cursor, RESPONSES)


def gold(cursor: Cursor) -> pd.DataFrame:
    """Return every comparison whose right verdict is known, who said so and when."""
    return frame(cursor, GOLD)


def adjudicated(cursor: Cursor) -> pd.DataFrame:
    """Return what leads decided on comparisons and did not take back, who and why."""
    return frame(cursor, ADJUDICATED)


def scores(cursor: Cursor) -> pd.DataFrame:
    """Return response, model, adapter, logprob (sum, nats), tokens of what models scored."""
    return frame(cursor, SCORES)


def excluded(cursor: Cursor) -> pd.DataFrame:
    """Return everything that stays out of snapshots now, why and by whose decision."""
    return frame(cursor, EXCLUDED)


def wanted(cursor: Cursor) -> pd.DataFrame:
    """Return every comparison that is asked again, and how many votes it shall have in all."""
    return frame(cursor, WANTED)


def meters(cursor: Cursor) -> pd.DataFrame:
    """Return how many live votes that are not excluded say what, and how far the journal is in."""
    return frame(cursor, METERS)


def majorities(cursor: Cursor) -> pd.DataFrame:
    """Return how often each comparison got each verdict, and how far the journal is in."""
    return frame(cursor, MAJORITIES)


def tally(cursor: Cursor, *, today: datetime) -> pd.DataFrame:
    """Return what `progress` says, of everybody, and how far the journal is in."""
    return frame(cursor, TALLY, today=stored(today))


def lengths(cursor: Cursor) -> pd.DataFrame:
    """Return every comparison with the characters of its two answers."""
    return frame(cursor, LENGTHS)


def progress(
    cursor: Cursor, *, labeler: str, now: datetime | None = None, read: Callable[..., Any] = frame
) -> Any:
    """Return one row of counts: this labeler's, everybody's, and what is left.

    `mine_*` counts votes and ratings, skips among them; a comparison is open until somebody judged.
    """
    today = stored(now or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
    return read(cursor, PROGRESS, labeler=labeler, today=today)


COLUMNS: dict[str, Callable[..., pd.DataFrame]] = {
    "votes": votes,
    "coded_votes": coded_votes,
    "vote_ids": vote_ids,
    "ratings": ratings,
    "edits": edits,
    "comparisons": comparisons,
    "compared": compared,
    "prompts": prompts,
    "unsettled": unsettled,
    "sizes": sizes,
    "responses": responses,
    "gold": gold,
    "adjudicated": adjudicated,
    "scores": scores,
    "excluded": excluded,
    "wanted": wanted,
    "meters": meters,
    "majorities": majorities,
    "tally": tally,
    "lengths": lengths,
    "open_comparisons": open_comparisons,
    "open_responses": open_responses,
    "given": given,
    "own_places": own_places,
    "open_repeats": open_repeats,
    "open_gold": open_gold,
    "own_verdicts": own_verdicts,
    "reach": reach,
    "trial": trial,
    "progress": progress,
}
