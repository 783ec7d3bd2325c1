"""What a labeler may be shown: the queue's queries, and what they judged lately.

As in `storage.columns`: functions of a reading cursor and keyword parameters that return a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from storage.duck import Cursor
from storage.live import LIVE_RATING, LIVE_VOTE, frame, stored
from storage.records import DUEL, JUDGE

if TYPE_CHECKING:
    import pandas as pd

LEASE_MINUTES = 30  # Choice: how long an item that somebody has on the screen is kept from others
# Choice: more votes for a comparison that is judged both ways, at most; who still disagree then
# have nothing to agree on, and their time is better spent elsewhere.
TIE_BREAKS = 3
# Choice: of the comparisons that more than `overlap` judge, two thirds are judged by one more and a
# third by two more: three who judge the same say who of them differs.
TWO_MORE = 1 / 3

# An assignment is taken by its judgement, or by somebody who may be looking at it right now. A skip
# frees it: it judged nothing. A repeat is the same person's second look, which takes nothing, and
# neither does a judge's vote: people are asked all the same.
TAKEN = f"""
SELECT s.{{item}} AS item,
    count(*) FILTER (v.verdict IS NOT NULL AND v.verdict != 'skip') AS judged,
    count(*) FILTER (v.verdict = 'a') AS for_a, count(*) FILTER (v.verdict = 'b') AS for_b,
    count(*) FILTER (v.verdict IS NULL AND s.source = 'screen' AND s.created_at >= $leased_since)
        AS leased,
    bool_or(s.labeler = $labeler) AS mine
FROM assignment s LEFT JOIN ({{live}}) v ON v.assignment = s.id AND v.source != '{JUDGE}'
WHERE s.{{item}} != '' AND s.kind != 'repeat' GROUP BY s.{{item}}"""

# What stays out of snapshots now: the newest decision about each thing says so.
EXCLUDED = """
SELECT kind, item, reason, labeler, created_at FROM exclusion
QUALIFY row_number() OVER (PARTITION BY kind, item ORDER BY created_at DESC, id DESC) = 1
    AND decision = 'exclude'
ORDER BY kind, item"""

# Comparisons that are asked again, and how many votes each shall have in all.
WANTED = """
SELECT comparison, max(votes) AS votes, arg_max(labeler, votes) AS labeler,
    max(created_at) AS created_at
FROM wanted GROUP BY comparison ORDER BY comparison"""

# What a lead decided on comparisons, which stands for their votes.
ADJUDICATED = """
SELECT id AS decision, comparison, verdict, reason, labeler, created_at FROM adjudication
QUALIFY row_number() OVER (PARTITION BY comparison ORDER BY created_at DESC, id DESC) = 1
    AND verdict != ''
ORDER BY comparison"""

# What nobody needs to judge: ids of prompts, comparisons and responses that a person decided to
# skip as a repeat, or to exclude from what is trained on.
SKIPPED = f"""
SELECT item FROM (
    SELECT item, arg_max(decision, created_at) AS decision FROM duplicate GROUP BY kind, item
) WHERE decision = 'skip'
UNION ALL
SELECT item FROM ({EXCLUDED}) WHERE kind IN ('prompt', 'comparison', 'response')"""

# What this labeler never had; or, of the items asked about, what others leave them.
OFFERED = """CASE WHEN $among IS NULL THEN NOT coalesce(t.mine, false)
        ELSE list_contains($among::VARCHAR[], {item}) END"""

# By how many nats more the policy, the adapter scored last, likes a response than its base does.
GAINS = """
SELECT p.response, p.logprob - base.logprob AS gain FROM score p
JOIN (SELECT model, adapter FROM score WHERE adapter != '' ORDER BY created_at DESC, id LIMIT 1)
    policy USING (model, adapter)
JOIN score base ON base.response = p.response AND base.model = p.model AND base.adapter = ''"""

# When the round that goes on now began: whoever answers now was promoted.
ROUND_BEGAN = "SELECT coalesce(max(created_at), TIMESTAMP '1970-01-01') FROM promotion"

MOST_WANTED = "duel DESC, contested DESC, fresh DESC, margin NULLS LAST, c.created_at, c.id"

# In two steps, because looking at texts is what costs: first the most wanted that nobody has, then
# those of them whose texts can be judged. 10,000 comparisons: 12 ms instead of 78. Which ones one
# or two more judge is drawn by a hash of the id: the same for everybody, and nothing to keep. It is
# asked only of those that have just `overlap` judgements or one more. Whether the texts can be
# judged is a column and no condition, since DuckDB would ask a condition of every text there is.
OPEN_COMPARISONS = f"""
WITH skipped AS MATERIALIZED ({SKIPPED}), gains AS MATERIALIZED ({GAINS}), asked AS (
    SELECT c.id, c.prompt, c.a, c.b, c.created_at, starts_with(c.source, '{DUEL}') AS duel,
        c.created_at >= ({ROUND_BEGAN}) AS fresh,
        coalesce(t.judged, 0) AS votes, coalesce(t.leased, 0) AS leased,
        coalesce(t.for_a = t.for_b AND t.for_a > 0, false) AS contested,
        greatest($overlap + CASE
            WHEN coalesce(t.judged, 0) + coalesce(t.leased, 0) BETWEEN $overlap AND $overlap + 1
            THEN (md5(c.id) < $shared)::INTEGER + (md5(c.id) < $two_more)::INTEGER ELSE 0 END,
            coalesce(w.votes, 0)) AS wanted
    FROM comparison c
    LEFT JOIN ({TAKEN.format(item="comparison", live=LIVE_VOTE)}) t ON t.item = c.id
    LEFT JOIN ({WANTED}) w ON w.comparison = c.id
    WHERE {OFFERED.format(item="c.id")}{{chosen}}
), free AS (
    SELECT c.*, abs(ga.gain - gb.gain) AS margin, CASE WHEN contested
        THEN greatest(wanted, least(votes + 1, $overlap + $tie_breaks)) ELSE wanted END
        - votes - leased AS room
    FROM asked c
    LEFT JOIN gains ga ON ga.response = c.a LEFT JOIN gains gb ON gb.response = c.b
    WHERE room > 0
        AND c.id NOT IN (SELECT comparison FROM ({ADJUDICATED}))
        AND c.id NOT IN (FROM skipped) AND c.prompt NOT IN (FROM skipped)
        AND c.a NOT IN (FROM skipped) AND c.b NOT IN (FROM skipped)
    ORDER BY {MOST_WANTED} LIMIT $look
)
SELECT c.id AS comparison, c.prompt, c.votes, c.duel, c.contested, c.fresh, c.margin,
    c.room, c.created_at,
    ta.id != tb.id AND trim(ta.content, $blank) != '' AND trim(tb.content, $blank) != '' AS shown
FROM free c
JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text
ORDER BY {MOST_WANTED}"""

OPEN_RESPONSES = f"""
WITH skipped AS MATERIALIZED ({SKIPPED}), free AS (
    SELECT r.id, r.prompt, r.text, coalesce(t.judged, 0) AS ratings, r.created_at,
        $overlap - coalesce(t.judged, 0) - coalesce(t.leased, 0) AS room
    FROM response r
    LEFT JOIN ({TAKEN.format(item="response", live=LIVE_RATING)}) t ON t.item = r.id
    WHERE {OFFERED.format(item="r.id")}{{chosen}}
        AND room > 0
        AND r.source != 'edit'
        AND r.id NOT IN (FROM skipped) AND r.prompt NOT IN (FROM skipped)
    ORDER BY r.created_at, r.id LIMIT $look
)
SELECT r.id AS response, r.prompt, r.ratings, r.room, r.created_at,
    trim(x.content, $blank) != '' AS shown
FROM free r JOIN text x ON x.id = r.text
ORDER BY r.created_at, r.id"""

# What this labeler decided on the screen, `after` or more of their items ago, and never twice.
OPEN_REPEATS = f"""
WITH skipped AS MATERIALIZED ({SKIPPED}), mine AS (
    SELECT s.id, s.comparison, s."left", s.kind,
        row_number() OVER (ORDER BY s.created_at DESC, s.id DESC) - 1 AS later
    FROM assignment s WHERE s.labeler = $labeler AND s.comparison != '' AND s.source = 'screen'
)
SELECT m.comparison, m."left", c.prompt
FROM mine m JOIN comparison c ON c.id = m.comparison
JOIN ({LIVE_VOTE} AND e.labeler = $labeler AND e.verdict IN ('a', 'b')) v ON v.assignment = m.id
WHERE m.kind = 'plain' AND m.later >= $after
    AND m.comparison NOT IN (SELECT comparison FROM mine WHERE kind = 'repeat')
    AND c.id NOT IN (FROM skipped) AND c.prompt NOT IN (FROM skipped)
    AND c.a NOT IN (FROM skipped) AND c.b NOT IN (FROM skipped)
ORDER BY m.later DESC, m.comparison LIMIT $limit"""

# The newest gold verdict of each comparison that has one.
GOLD = """
SELECT comparison, verdict, labeler, created_at FROM gold
QUALIFY row_number() OVER (PARTITION BY comparison ORDER BY created_at DESC, id DESC) = 1
    AND verdict != ''
ORDER BY comparison"""

OPEN_GOLD = f"""
WITH skipped AS MATERIALIZED ({SKIPPED})
SELECT c.id AS comparison, c.prompt FROM ({GOLD}) g JOIN comparison c ON c.id = g.comparison
WHERE c.id NOT IN (SELECT comparison FROM assignment WHERE labeler = $labeler)
    AND c.id NOT IN (FROM skipped) AND c.prompt NOT IN (FROM skipped)
    AND c.a NOT IN (FROM skipped) AND c.b NOT IN (FROM skipped)
ORDER BY c.id LIMIT $limit"""

# What everybody, or one labeler, said of gold items, whether given as such or among others.
TRIAL = f"""
SELECT s.labeler, s.campaign, s.comparison, v.verdict AS said, g.verdict AS known
FROM assignment s JOIN ({GOLD}) g ON g.comparison = s.comparison
LEFT JOIN ({LIVE_VOTE}) v ON v.assignment = s.id
WHERE s.kind != 'repeat' AND ($labeler IS NULL OR s.labeler = $labeler)
ORDER BY s.created_at, s.id"""

# How many of a campaign's items there are, and how many people judged.
REACH = {
    "pairs": f"""
SELECT count(*) AS total, count(j.item) AS done FROM comparison c LEFT JOIN (
    SELECT DISTINCT comparison AS item FROM ({LIVE_VOTE}) v
    WHERE v.verdict != 'skip' AND v.source != '{JUDGE}') j ON j.item = c.id
WHERE true{{chosen}}""",
    "thumbs": f"""
SELECT count(*) AS total, count(j.item) AS done FROM response r LEFT JOIN (
    SELECT DISTINCT response AS item FROM ({LIVE_RATING}) v WHERE v.verdict != 'skip') j
    ON j.item = r.id
WHERE r.source != 'edit'{{chosen}}""",
}

# Which items are a campaign's: of these sources, by these models or runs, made since then.
CHOSEN = {
    "sources": " AND len(list_filter($sources::VARCHAR[], lambda x: "
    "starts_with({row}.source, x))) > 0",
    "since": " AND {row}.created_at >= $since",
}
WROTE = (
    "list_contains($models::VARCHAR[], {row}.model)"
    " OR list_contains($models::VARCHAR[], {row}.adapter)"
)
BY_THEM = f"(SELECT x.id FROM response x WHERE {WROTE.format(row='x')})"
BY_MODELS = {
    "c": f" AND (c.a IN {BY_THEM} OR c.b IN {BY_THEM})",
    "r": f" AND ({WROTE.format(row='r')})",
}

# What a labeler was ever given, and what of it, given on the screen, waits for a verdict.
OWN_PLACES = f"""
SELECT s.id AS assignment, s.comparison || s.response AS item,
    s.source = 'screen' AND v.id IS NULL AND r.id IS NULL AS waiting
FROM (SELECT * FROM assignment WHERE labeler = $labeler) s
LEFT JOIN ({LIVE_VOTE} AND e.labeler = $labeler) v ON v.assignment = s.id
LEFT JOIN ({LIVE_RATING} AND e.labeler = $labeler) r ON r.assignment = s.id
ORDER BY s.created_at, s.id"""

OWN_VERDICTS = f"""
SELECT 'vote' AS what, v.assignment,
    CASE WHEN v.verdict NOT IN ('a', 'b') THEN v.verdict
        WHEN v.verdict = coalesce(s."left", '') THEN 'left' WHEN s."left" != '' THEN 'right'
        ELSE '' END AS verdict,
    v.seconds_spent, ta.chars + tb.chars AS chars, v.created_at
FROM ({LIVE_VOTE} AND e.labeler = $labeler AND e.created_at >= $since) v
LEFT JOIN assignment s ON s.id = v.assignment
JOIN comparison c ON c.id = v.comparison
JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text
UNION ALL
SELECT 'rating', v.assignment, v.verdict, v.seconds_spent, t.chars, v.created_at
FROM ({LIVE_RATING} AND e.labeler = $labeler AND e.created_at >= $since) v
JOIN response r ON r.id = v.response JOIN text t ON t.id = r.text
ORDER BY created_at"""

ALL = 2**62  # rows: as many as there are

# What Python's str.strip removes: the characters that make an answer blank.
BLANK = "".join(chr(code) for code in range(1, 0x3001) if chr(code).isspace())


def open_comparisons(
    cursor: Cursor, *, shared: float = 0.0, tie_breaks: int = TIE_BREAKS, **asked: Any
) -> pd.DataFrame:
    """Return what this labeler may be shown, the most wanted first; `asked` as for `_queue`.

    Comparisons never assigned to them, both texts non-blank and different, neither skipped as
    duplicates nor left out, that want more judgements than they have, fresh unanswered leases of
    others among them. Contested ones (as many say a as b) come first, then those of the round that
    goes on now, then the smallest margin of the policy (nats; missing where a score is), then the
    oldest. One that is asked again takes as many judgements as it is wanted to have. `room`: how
    many more labelers may be given it now.

    Args:
        shared: Share of the comparisons, 0..1, that want more judgements than `overlap`: one
            more, and a third of them (`TWO_MORE`) two.
        tie_breaks: How many more than `overlap` a contested one may want.
    """
    drawn = {"shared": _below(shared), "two_more": _below(shared * TWO_MORE)}
    params = _queue(**asked) | drawn | {"tie_breaks": tie_breaks}
    return _first_open(cursor, "comparison", OPEN_COMPARISONS, params)


def reach(cursor: Cursor, *, mode: str = "pairs", **campaign: Any) -> pd.DataFrame:
    """Return how many items a campaign has, `total`, and how many people judged, `done`.

    Args:
        mode: "pairs" or "thumbs".
        campaign: as for `_chosen`.
    """
    table = "comparison" if mode == "pairs" else "response"
    words, params = _chosen(table, **campaign)
    return frame(cursor, REACH[mode].replace("{chosen}", words), **params)


def trial(cursor: Cursor, *, labeler: str | None = None) -> pd.DataFrame:
    """Return a labeler's gold items, or everybody's, oldest first: what was said and is known."""
    return frame(cursor, TRIAL, labeler=labeler)


def _chosen(
    table: str,
    *,
    sources: Collection[str] = (),
    models: Collection[str] = (),
    since: datetime | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return the words that pick a campaign's items of a table, and their parameters.

    Args:
        sources: How the source begins; empty: any.
        models: Names of models or ids of runs, one of which answered; empty: any.
        since: Only what was made from then on.
    """
    row = table[0]
    words, params = "", {}
    if sources:
        words, params["sources"] = words + CHOSEN["sources"].format(row=row), list(sources)
    if models:
        words, params["models"] = words + BY_MODELS[row], list(models)
    if since is not None:
        words, params["since"] = words + CHOSEN["since"].format(row=row), stored(since)
    return words, params


def _below(share: float) -> str:
    """Return what a share, 0..1, of all hashes in hex comes before when they are sorted as text.

    Example:
        >>> _below(0.5), _below(1.0)
        ('80000000', 'g')
    """
    return f"{int(share * 16**8):08x}" if share < 1 else "g"


def open_responses(cursor: Cursor, **asked: Any) -> pd.DataFrame:
    """Return the responses that this labeler may rate, oldest first; corrections are left out."""
    return _first_open(cursor, "response", OPEN_RESPONSES, _queue(**asked))


def open_repeats(
    cursor: Cursor, *, labeler: str, after: int = 0, limit: int = 1000
) -> pd.DataFrame:
    """Return what this labeler decided `after` or more items ago, and `left` as it stood then."""
    return frame(cursor, OPEN_REPEATS, labeler=labeler, after=after, limit=limit)


def open_gold(cursor: Cursor, *, labeler: str, limit: int = 1000) -> pd.DataFrame:
    """Return the comparisons with a known verdict that this labeler never had."""
    return frame(cursor, OPEN_GOLD, labeler=labeler, limit=limit)


def given(cursor: Cursor) -> pd.DataFrame:
    """Return every labeler who was ever given something, and how much."""
    return frame(cursor, "SELECT labeler, count(*) AS n FROM assignment GROUP BY labeler")


def own_places(cursor: Cursor, *, labeler: str) -> pd.DataFrame:
    """Return the labeler's assignments, oldest first: `item` and whether it is `waiting`."""
    return frame(cursor, OWN_PLACES, labeler=labeler)


def own_verdicts(
    cursor: Cursor,
    *,
    labeler: str,
    since: datetime | None = None,
    read: Callable[..., Any] = frame,
) -> Any:
    """Return the labeler's live votes and ratings, oldest first.

    `verdict` is as they saw it ("left", "tie", "up", …); `chars` is the length of all that was
    shown of answers.
    """
    return read(
        cursor, OWN_VERDICTS, labeler=labeler, since=stored(since) if since else datetime.min
    )


def _first_open(cursor: Cursor, table: str, query: str, params: dict[str, Any]) -> pd.DataFrame:
    """Look at the texts of the first few free items; at all of them when that is not enough."""
    names = ("sources", "models", "since")
    words, picked = _chosen(table, **{n: params.pop(n) for n in names if n in params})
    query, params = query.replace("{chosen}", words), params | picked
    limit = params.pop("limit")

    def first(look: int) -> pd.DataFrame:
        found = frame(cursor, query, look=look, **params)
        return found[found.pop("shown")].head(limit).reset_index(drop=True)

    (rows,) = cursor.execute(f"SELECT count(*) FROM {table}").fetchall()[0]
    if rows > 2 * limit and len(found := first(2 * limit)) == limit:
        return found
    return first(ALL)


def _queue(
    *,
    labeler: str,
    overlap: int = 1,
    lease_minutes: float = LEASE_MINUTES,
    limit: int = 1000,
    among: Collection[str] | None = None,
    now: datetime | None = None,
    **campaign: Any,
) -> dict[str, Any]:
    """Return the parameters of a query for open items.

    Args:
        overlap: Judgements wanted of each item.
        among: Look only at these, although the labeler has them already.
        campaign: Which items are its, as for `_chosen`.
    """
    since = stored(now or datetime.now(UTC)) - timedelta(minutes=lease_minutes)
    return {
        "labeler": labeler, "overlap": overlap, "leased_since": since, "limit": limit,
        "among": None if among is None else sorted(among), "blank": BLANK, **campaign,
    }  # fmt: skip
