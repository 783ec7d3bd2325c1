"""The tables as SQLAlchemy Core describes them: the shape that the last migration leaves behind.

One table per record, of the same name, its columns in the order of the record's fields. Only
primary keys: a secondary index or a foreign key on a table that grows with voting costs writes, and
DuckDB has lost rows behind them. Times are UTC without a zone; mappings and tuples are JSON text.
"""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from storage.records import (
    Account,
    Adjudication,
    Admission,
    ApiKey,
    Assignment,
    Audit,
    Campaign,
    Cluster,
    Comparison,
    Duplicate,
    Edit,
    Erased,
    Erasure,
    Exclusion,
    Extra,
    Gold,
    Invitation,
    Labeler,
    Logged,
    Promotion,
    Prompt,
    Rating,
    Remark,
    Response,
    Rewritten,
    Run,
    Score,
    Session,
    Snapshot,
    Text,
    Vote,
    Wanted,
)

METADATA = sa.MetaData()
EVENTS = (Vote, Rating, Edit)  # append-only; their primary key is (assignment, revision)
MUTABLE = (Campaign, Account, Session, Invitation, ApiKey)  # a row may take another's place

# What a field's annotation becomes. The flag says whether the column may be NULL.
_TYPES: dict[str, tuple[sa.types.TypeEngine, bool]] = {
    "str": (sa.String(), False),
    "int": (sa.BigInteger(), False),
    "int | None": (sa.BigInteger(), True),
    "bool | None": (sa.Boolean(), True),
    "float": (sa.Double(), False),
    "float | None": (sa.Double(), True),
    "datetime": (sa.DateTime(), False),
    "datetime | None": (sa.DateTime(), True),
    "tuple[str, ...]": (sa.String(), False),
    "Mapping[str, Any]": (sa.String(), False),
}
# Choice: how the engine's own SQL names the types of the columns, for casts of bound lists.
SQL_TYPES = {"String": "VARCHAR", "BigInteger": "BIGINT", "Boolean": "BOOLEAN",
             "Double": "DOUBLE", "DateTime": "TIMESTAMP"}  # fmt: skip


def _table(kind: type) -> sa.Table:
    """Return the table of one record: its fields as columns, its key as the only constraint."""
    key = ("assignment", "revision") if kind in EVENTS else ("id",)
    columns = [
        sa.Column(
            field.name,
            _TYPES[str(field.type)][0],
            primary_key=field.name in key,
            autoincrement=False,
            nullable=_TYPES[str(field.type)][1],
        )
        for field in dataclasses.fields(kind)
    ]
    return sa.Table(kind.__name__.lower(), METADATA, *columns)


# In the order in which one transaction fills them: what is named before what names it.
TABLES: dict[type, sa.Table] = {
    kind: _table(kind)
    for kind in (
        Text, Prompt, Response, Comparison, Campaign, Labeler, Assignment, Duplicate, Exclusion,
        Gold, Adjudication, Admission, Remark, Wanted, Score, Snapshot, Run, Promotion, Account,
        Session, Invitation, ApiKey, Audit, Logged, Erasure, Erased, Rewritten, Extra, Cluster,
        Vote, Rating, Edit,
    )
}  # fmt: skip
KINDS: dict[str, type] = {kind.__name__.lower(): kind for kind in TABLES}

# The answer to every event that was ever sent, also to those that were refused.
COMMAND = sa.Table(
    "command",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("n", sa.BigInteger, nullable=False),  # its number in the journal
    sa.Column("kind", sa.String, nullable=False),  # the event's table
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("error", sa.String, nullable=False),  # the class of the refusal, or ""
    sa.Column("reason", sa.String, nullable=False),  # its sentence, or ""
    sa.Column("digest", sa.String, nullable=False),  # SHA-256 of the event's row
    sa.Column("hash", sa.String, nullable=False),  # of this row and the hash before it: the chain
    sa.Column("created_at", sa.DateTime, nullable=False),
)
# One row per transaction that added ordinary rows: how far the database has followed the journal.
BATCH = sa.Table(
    "batch",
    METADATA,
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
)
MIGRATION = sa.Table(
    "migration",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
)
