"""What the checks, the queue and the screens read: named queries that return columns.

Each is a function of a reading cursor and keyword parameters that returns a pandas DataFrame, one
row per item, times in UTC. Live means: the highest revision of an assignment, unless that is
`undone`. Hashes of texts, never texts: those are fetched by `Store.texts` where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from storage.duck import Cursor

if TYPE_CHECKING:
    import pandas as pd

LEASE_MINUTES = 30  # Choice: how long an item that somebody has on the screen is kept from others

# The newest revision of each assignment's event. Nearly all have one, so those that were superseded
# are found by a join with the few higher revisions instead of sorting everything.
LIVE = """
    SELECT e.* FROM {table} e ANTI JOIN
        (SELECT assignment, revision FROM {table} WHERE revision > 0) newer
        ON newer.assignment = e.assignment AND newer.revision > e.revision
"""
LIVE_VOTE = LIVE.format(table="vote") + " WHERE e.verdict != 'undone'"
LIVE_RATING = LIVE.format(table="rating") + " WHERE e.verdict != 'undone'"
LIVE_EDIT = LIVE.format(table="edit") + " WHERE e.corrected != ''"

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

# The same votes for a million of them: names as codes, and nothing that their comparison says.
CODED_VOTES = f"""
SELECT v.id AS vote, v.assignment, v.comparison::coded_comparison AS comparison,
    v.labeler::coded_labeler AS labeler, v.verdict::coded_verdict AS verdict,
    coalesce(s."left", '')::coded_left AS "left", coalesce(s.kind, 'plain')::coded_kind AS kind,
    v.seconds_spent, v.source::coded_source AS source, v.created_at
FROM ({LIVE_VOTE}) v JOIN comparison c ON c.id = v.comparison
LEFT JOIN assignment s ON s.id = v.assignment
ORDER BY v.created_at, v.id"""
CODES = {
    "coded_comparison": "SELECT id FROM comparison ORDER BY id",
    "coded_labeler": "SELECT DISTINCT labeler FROM vote ORDER BY labeler",
    "coded_verdict": "SELECT DISTINCT verdict FROM vote ORDER BY verdict",
    "coded_left": """SELECT DISTINCT "left" FROM assignment UNION SELECT '' ORDER BY 1""",
    "coded_kind": "SELECT DISTINCT kind FROM assignment UNION SELECT 'plain' ORDER BY 1",
    "coded_source": "SELECT DISTINCT source FROM vote ORDER BY source",
}

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

COMPARISONS = f"""
SELECT c.id AS comparison, c.prompt, c.a, c.b, a.text AS text_a, b.text AS text_b,
    ta.chars AS chars_a, tb.chars AS chars_b, a.model AS model_a, b.model AS model_b,
    a.adapter AS adapter_a, b.adapter AS adapter_b, a.finished AS finished_a,
    b.finished AS finished_b, c.source, c.created_at,
    coalesce(v.votes, 0) AS votes, coalesce(s.assigned, 0) AS assigned
FROM comparison c
JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text
LEFT JOIN (SELECT comparison, count(*) AS votes FROM ({LIVE_VOTE}) GROUP BY comparison) v
    ON v.comparison = c.id
LEFT JOIN (SELECT comparison, count(*) AS assigned FROM assignment GROUP BY comparison) s
    ON s.comparison = c.id
ORDER BY c.created_at, c.id"""

PROMPTS = """
SELECT p.id AS prompt, p.text, p.cluster, p.source, p.created_at,
    coalesce(r.responses, 0) AS responses, coalesce(c.comparisons, 0) AS comparisons
FROM prompt p
LEFT JOIN (SELECT prompt, count(*) AS responses FROM response GROUP BY prompt) r
    ON r.prompt = p.id
LEFT JOIN (SELECT prompt, count(*) AS comparisons FROM comparison GROUP BY prompt) c
    ON c.prompt = p.id
ORDER BY p.created_at, p.id"""

RESPONSES = f"""
SELECT r.id AS response, r.prompt, r.text, t.chars, r.model, r.adapter, r.source, r.finished,
    r.created_at, coalesce(v.ratings, 0) AS ratings
FROM response r JOIN text t ON t.id = r.text
LEFT JOIN (SELECT response, count(*) AS ratings FROM ({LIVE_RATING}) GROUP BY response) v
    ON v.response = r.id
ORDER BY r.created_at, r.id"""

# The newest gold verdict of each comparison that has one.
GOLD = """
SELECT comparison, verdict, labeler, created_at FROM gold
QUALIFY row_number() OVER (PARTITION BY comparison ORDER BY created_at DESC, id DESC) = 1
    AND verdict != ''
ORDER BY comparison"""

SCORES = """
SELECT response, model, adapter, logprob, tokens FROM score ORDER BY response, model, adapter"""

# What stays out of snapshots now: the newest decision about each thing says so.
EXCLUDED = """
SELECT kind, item, reason, labeler, created_at FROM exclusion
QUALIFY row_number() OVER (PARTITION BY kind, item ORDER BY created_at DESC, id DESC) = 1
    AND decision = 'exclude'
ORDER BY kind, item"""

# How many live votes say what: `longer` is 1 where answer a has more characters, -1 where b has.
# One row at least, with the journal's last number that is in it; its verdict is NULL without votes.
METERS = f"""
WITH left_out AS ({EXCLUDED}),
reached AS (SELECT greatest(
    (SELECT coalesce(max(n), 0) FROM command), (SELECT coalesce(max(n), 0) FROM batch)
) AS n)
SELECT reached.n, counted.* FROM reached LEFT JOIN (
    SELECT v.verdict, coalesce(s."left", '') AS "left", sign(ta.chars - tb.chars)::INT AS longer,
        count(*) AS votes
    FROM ({LIVE_VOTE}) v
    JOIN comparison c ON c.id = v.comparison
    JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
    JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text
    LEFT JOIN assignment s ON s.id = v.assignment
    WHERE v.labeler NOT IN (SELECT item FROM left_out WHERE kind = 'labeler')
        AND v.source NOT IN (SELECT item FROM left_out WHERE kind = 'source')
        AND v.id NOT IN (SELECT item FROM left_out WHERE kind = 'vote')
        AND c.id NOT IN (SELECT item FROM left_out WHERE kind = 'comparison')
        AND c.prompt NOT IN (SELECT item FROM left_out WHERE kind = 'prompt')
        AND c.a NOT IN (SELECT item FROM left_out WHERE kind = 'response')
        AND c.b NOT IN (SELECT item FROM left_out WHERE kind = 'response')
    GROUP BY ALL
) counted ON true"""

# An assignment is taken by its judgement, or by somebody who may be looking at it right now. A skip
# frees it: it judged nothing.
TAKEN = """
SELECT s.{item} AS item, count(*) FILTER (v.verdict IS NOT NULL AND v.verdict != 'skip') AS judged,
    count(*) FILTER (v.verdict IS NULL AND s.source = 'screen' AND s.created_at >= $leased_since)
        AS leased,
    bool_or(s.labeler = $labeler) AS mine
FROM assignment s LEFT JOIN ({live}) v ON v.assignment = s.id
WHERE s.{item} != '' GROUP BY s.{item}"""

# What a person decided to skip as a repeat: prompts, comparisons and responses by their ids.
SKIPPED = """
SELECT item FROM (
    SELECT item, arg_max(decision, created_at) AS decision FROM duplicate GROUP BY kind, item
) WHERE decision = 'skip'"""

# In two steps, because looking at texts is what costs: first the oldest that nobody has, then those
# of them whose texts can be judged. 10,000 comparisons: 12 ms instead of 78.
OPEN_COMPARISONS = f"""
WITH free AS (
    SELECT c.id, c.prompt, c.a, c.b, coalesce(t.judged, 0) AS votes, c.created_at
    FROM comparison c
    LEFT JOIN ({TAKEN.format(item="comparison", live=LIVE_VOTE)}) t ON t.item = c.id
    WHERE NOT coalesce(t.mine, false)
        AND coalesce(t.judged, 0) + coalesce(t.leased, 0) < $overlap
        AND c.id NOT IN ({SKIPPED}) AND c.prompt NOT IN ({SKIPPED})
    ORDER BY c.created_at, c.id LIMIT $look
)
SELECT c.id AS comparison, c.prompt, c.votes, c.created_at
FROM free c
JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text
WHERE ta.id != tb.id AND trim(ta.content, $blank) != '' AND trim(tb.content, $blank) != ''
ORDER BY c.created_at, c.id LIMIT $limit"""

OPEN_RESPONSES = f"""
WITH free AS (
    SELECT r.id, r.prompt, r.text, coalesce(t.judged, 0) AS ratings, r.created_at
    FROM response r
    LEFT JOIN ({TAKEN.format(item="response", live=LIVE_RATING)}) t ON t.item = r.id
    WHERE NOT coalesce(t.mine, false)
        AND coalesce(t.judged, 0) + coalesce(t.leased, 0) < $overlap
        AND r.source != 'edit'
        AND r.id NOT IN ({SKIPPED}) AND r.prompt NOT IN ({SKIPPED})
    ORDER BY r.created_at, r.id LIMIT $look
)
SELECT r.id AS response, r.prompt, r.ratings, r.created_at
FROM free r JOIN text x ON x.id = r.text
WHERE trim(x.content, $blank) != ''
ORDER BY r.created_at, r.id LIMIT $limit"""

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
        SELECT comparison FROM v WHERE verdict != 'skip'
    ) judged ON judged.comparison = comparison.id) AS comparisons_open"""

ALL = 2**62  # rows: as many as there are

# What Python's str.strip removes: the characters that make an answer blank.
BLANK = "".join(chr(code) for code in range(1, 0x3001) if chr(code).isspace())


def votes(cursor: Cursor) -> pd.DataFrame:
    """Return the live votes, skips among them; `left` is "" where nobody recorded it."""
    return _frame(cursor, VOTES)


def coded_votes(cursor: Cursor) -> pd.DataFrame:
    """Return the live votes with categoricals for names, without what their comparison says."""
    cursor.begin()  # no name may come between the codes and the votes
    try:
        for name, query in CODES.items():
            cursor.execute(f"CREATE OR REPLACE TEMP TYPE {name} AS ENUM ({query})")
        return _frame(cursor, CODED_VOTES)
    finally:
        cursor.rollback()


def ratings(cursor: Cursor) -> pd.DataFrame:
    """Return the live ratings."""
    return _frame(cursor, RATINGS)


def edits(cursor: Cursor) -> pd.DataFrame:
    """Return the live edits."""
    return _frame(cursor, EDITS)


def comparisons(cursor: Cursor) -> pd.DataFrame:
    """Return every comparison with its live votes and its assignments."""
    return _frame(cursor, COMPARISONS)


def prompts(cursor: Cursor) -> pd.DataFrame:
    """Return every prompt with its number of responses and comparisons."""
    return _frame(cursor, PROMPTS)


def responses(cursor: Cursor) -> pd.DataFrame:
    """Return every response with its live ratings."""
    return _frame(cursor, RESPONSES)


def gold(cursor: Cursor) -> pd.DataFrame:
    """Return every comparison whose right verdict is known, who said so and when."""
    return _frame(cursor, GOLD)


def scores(cursor: Cursor) -> pd.DataFrame:
    """Return response, model, adapter, logprob (sum, nats), tokens of what models scored."""
    return _frame(cursor, SCORES)


def excluded(cursor: Cursor) -> pd.DataFrame:
    """Return everything that stays out of snapshots now, why and by whose decision."""
    return _frame(cursor, EXCLUDED)


def meters(cursor: Cursor) -> pd.DataFrame:
    """Return how many live votes that are not excluded say what, and how far the journal is in."""
    return _frame(cursor, METERS)


def open_comparisons(
    cursor: Cursor,
    *,
    labeler: str,
    overlap: int = 1,
    lease_minutes: float = LEASE_MINUTES,
    limit: int = 1000,
    now: datetime | None = None,
) -> pd.DataFrame:
    """Return what this labeler may be shown, oldest first.

    Comparisons never assigned to them, with fewer than `overlap` judgements and fresh unanswered
    leases of others, both texts non-blank and different, not skipped as duplicates.
    """
    params = _queue_params(labeler, overlap, lease_minutes, limit, now)
    return _oldest_open(cursor, OPEN_COMPARISONS, params)


def open_responses(
    cursor: Cursor,
    *,
    labeler: str,
    overlap: int = 1,
    lease_minutes: float = LEASE_MINUTES,
    limit: int = 1000,
    now: datetime | None = None,
) -> pd.DataFrame:
    """Return the responses that this labeler may rate, oldest first; corrections are left out."""
    params = _queue_params(labeler, overlap, lease_minutes, limit, now)
    return _oldest_open(cursor, OPEN_RESPONSES, params)


def progress(cursor: Cursor, *, labeler: str, now: datetime | None = None) -> pd.DataFrame:
    """Return one row of counts: this labeler's, everybody's, and what is left.

    `mine_*` counts votes and ratings, skips among them; a comparison is open until somebody judged.
    """
    today = _stored(now or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
    return _frame(cursor, PROGRESS, labeler=labeler, today=today)


def _oldest_open(cursor: Cursor, query: str, params: dict[str, Any]) -> pd.DataFrame:
    """Look at the texts of the first few free items; at all of them when that is not enough."""
    limit = params["limit"]
    frame = _frame(cursor, query, look=2 * limit, **params)
    return frame if len(frame) == limit else _frame(cursor, query, look=ALL, **params)


def _queue_params(
    labeler: str, overlap: int, lease_minutes: float, limit: int, now: datetime | None
) -> dict[str, Any]:
    since = _stored(now or datetime.now(UTC)) - timedelta(minutes=lease_minutes)
    return {
        "labeler": labeler, "overlap": overlap, "leased_since": since, "limit": limit,
        "blank": BLANK,
    }  # fmt: skip


def _stored(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(tzinfo=None)


def _frame(cursor: Cursor, query: str, **params: object) -> pd.DataFrame:
    """Run a query; give its times their zone."""
    frame = cursor.execute(query, params).df()
    if "created_at" in frame:
        frame["created_at"] = frame["created_at"].dt.tz_localize("UTC")
    return frame


COLUMNS: dict[str, Callable[..., pd.DataFrame]] = {
    "votes": votes,
    "coded_votes": coded_votes,
    "ratings": ratings,
    "edits": edits,
    "comparisons": comparisons,
    "prompts": prompts,
    "responses": responses,
    "gold": gold,
    "scores": scores,
    "excluded": excluded,
    "meters": meters,
    "open_comparisons": open_comparisons,
    "open_responses": open_responses,
    "progress": progress,
}
