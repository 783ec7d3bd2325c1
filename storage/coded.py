"""What the checks read of a million votes: numbers instead of names.

A thing of which there are hundreds of thousands (prompt, response, text, comparison) is told by its
place, the row in its table; what takes one of a few values (labeler, model, source) by its code.
No row of these tables ever leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from storage.duck import Cursor
from storage.live import LIVE_RATING, LIVE_VOTE, frame, large_frame
from storage.open_items import EXCLUDED, GOLD

if TYPE_CHECKING:
    import pandas as pd

# Nothing that its comparison says, of the vote's id a hash, and so without those that are excluded
# one by one.
VOTES = f"""
SELECT hash(v.id) AS vote, c.rowid AS comparison,
    v.labeler::coded_labeler AS labeler, v.verdict::coded_verdict AS verdict,
    coalesce(s."left", '')::coded_left AS "left", coalesce(s.kind, 'plain')::coded_kind AS kind,
    v.seconds_spent, v.source::coded_source AS source, v.created_at
FROM ({LIVE_VOTE}) v JOIN comparison c ON c.id = v.comparison
LEFT JOIN assignment s ON s.id = v.assignment
WHERE v.id NOT IN (SELECT item FROM ({EXCLUDED}) WHERE kind = 'vote')
ORDER BY v.created_at, v.id"""
CODES_OF_VOTES = {
    "coded_labeler": "SELECT DISTINCT labeler FROM vote ORDER BY labeler",
    "coded_verdict": "SELECT DISTINCT verdict FROM vote ORDER BY verdict",
    "coded_left": """SELECT DISTINCT "left" FROM assignment UNION SELECT '' ORDER BY 1""",
    "coded_kind": "SELECT DISTINCT kind FROM assignment UNION SELECT 'plain' ORDER BY 1",
    "coded_source": "SELECT DISTINCT source FROM vote ORDER BY source",
}

VOTE_IDS = """
SELECT id AS vote, hash(id) AS coded FROM vote
WHERE hash(id) IN (SELECT unnest($coded::UBIGINT[]))"""

# In these comparison, prompt, cluster, a, b, response and the texts are places; -1 is none.
ITEMS = {
    "comparisons": """
SELECT c.rowid AS comparison, coalesce(p.rowid, -1) AS prompt,
    a.rowid AS a, b.rowid AS b, ta.rowid AS text_a, tb.rowid AS text_b,
    ta.chars AS chars_a, tb.chars AS chars_b,
    a.model::coded_model AS model_a, b.model::coded_model AS model_b,
    a.adapter::coded_adapter AS adapter_a, b.adapter::coded_adapter AS adapter_b,
    a.finished AS finished_a, b.finished AS finished_b, c.source::coded_made AS source, c.created_at
FROM comparison c
JOIN response a ON a.id = c.a JOIN response b ON b.id = c.b
JOIN text ta ON ta.id = a.text JOIN text tb ON tb.id = b.text
LEFT JOIN prompt p ON p.id = c.prompt
ORDER BY c.created_at, c.id""",
    "ratings": f"""
SELECT v.id AS rating, v.assignment, r.rowid AS response, coalesce(p.rowid, -1) AS prompt,
    v.labeler, v.verdict, t.chars, t.rowid AS text, r.model::coded_model AS model,
    r.source AS made, v.source, v.created_at
FROM ({LIVE_RATING}) v
JOIN response r ON r.id = v.response JOIN text t ON t.id = r.text
LEFT JOIN prompt p ON p.id = r.prompt
ORDER BY v.created_at, v.id""",
    "prompts": """
SELECT p.rowid AS prompt, t.rowid AS text, coalesce(first.rowid, -1) AS "cluster"
FROM prompt p JOIN text t ON t.id = p.text
LEFT JOIN "cluster" k ON k.id = p.id
LEFT JOIN prompt first ON first.id = coalesce(k.cluster, p.cluster)
ORDER BY p.created_at, p.id""",
    "scores": """
SELECT r.rowid AS response, s.model, s.adapter, s.logprob, s.tokens
FROM score s JOIN response r ON r.id = s.response
ORDER BY s.response, s.model, s.adapter""",
    "gold": f"""
SELECT c.rowid AS comparison, g.verdict FROM ({GOLD}) g JOIN comparison c ON c.id = g.comparison
ORDER BY c.id""",
}
CODES_OF_ITEMS = {
    "coded_model": "SELECT DISTINCT model FROM response ORDER BY model",
    "coded_adapter": "SELECT DISTINCT adapter FROM response ORDER BY adapter",
    "coded_made": "SELECT DISTINCT source FROM comparison ORDER BY source",
}
# What is at the places; sorted, so that nobody needs to hash each to see that none is there twice.
PLACES = ("comparison", "prompt", "response", "text")
NAMES = {name: f'SELECT rowid AS place, id FROM "{name}" ORDER BY id' for name in PLACES}


def coded_votes(cursor: Cursor) -> pd.DataFrame:
    """Return the live votes but for those that are excluded one by one; `comparison` is a place."""
    return _coded(cursor, CODES_OF_VOTES, {"votes": VOTES})["votes"]


def vote_ids(cursor: Cursor, *, coded: Sequence[int]) -> pd.DataFrame:
    """Return the ids (`vote`) of what `coded_votes` calls by their hashes (`coded`)."""
    return frame(cursor, VOTE_IDS, coded=coded)


def coded_items(cursor: Cursor) -> dict[str, pd.DataFrame]:
    """Return comparisons, live ratings, prompts, scores and gold of one moment, and what the places
    in them are: the `id` at each `place`, sorted, by table (`PLACES`)."""
    return _coded(cursor, CODES_OF_ITEMS, ITEMS | NAMES)


def _coded(
    cursor: Cursor, codes: Mapping[str, str], queries: Mapping[str, str]
) -> dict[str, pd.DataFrame]:
    """Return the rows of queries that cast names to types whose values other queries list."""
    cursor.begin()  # no name may come between the codes and the rows
    try:
        for name, values in codes.items():
            cursor.execute(f"CREATE OR REPLACE TEMP TYPE {name} AS ENUM ({values})")
        return {name: large_frame(cursor, query) for name, query in queries.items()}
    finally:
        cursor.rollback()
