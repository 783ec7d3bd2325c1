"""The schema's history: numbered steps, applied in order, each in a transaction of its own.

A step is frozen once it is released: it spells out its own SQL and never reads `tables`, which
describes where the last step leads. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from storage.errors import StoreError

CREATE_MIGRATION = """
CREATE TABLE IF NOT EXISTS migration (
    number BIGINT NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
)"""

FIRST_TABLES = """
CREATE TABLE text (
    id VARCHAR NOT NULL PRIMARY KEY, content VARCHAR NOT NULL, chars BIGINT NOT NULL
);
CREATE TABLE prompt (
    id VARCHAR NOT NULL PRIMARY KEY, text VARCHAR NOT NULL, cluster VARCHAR NOT NULL,
    source VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE response (
    id VARCHAR NOT NULL PRIMARY KEY, prompt VARCHAR NOT NULL, text VARCHAR NOT NULL,
    model VARCHAR NOT NULL, adapter VARCHAR NOT NULL, settings VARCHAR NOT NULL, seed BIGINT,
    finished BOOLEAN, source VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE comparison (
    id VARCHAR NOT NULL PRIMARY KEY, prompt VARCHAR NOT NULL, a VARCHAR NOT NULL,
    b VARCHAR NOT NULL, source VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE campaign (
    id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, guideline VARCHAR NOT NULL,
    overlap BIGINT NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE labeler (
    id VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE assignment (
    id VARCHAR NOT NULL PRIMARY KEY, campaign VARCHAR NOT NULL, labeler VARCHAR NOT NULL,
    comparison VARCHAR NOT NULL, response VARCHAR NOT NULL, "left" VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, source VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL,
    CHECK ("left" IN ('a', 'b', ''))
);
CREATE TABLE duplicate (
    id VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, item VARCHAR NOT NULL,
    earlier VARCHAR NOT NULL, decision VARCHAR NOT NULL, labeler VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);
CREATE TABLE snapshot (
    id VARCHAR NOT NULL PRIMARY KEY, digest VARCHAR NOT NULL, pairs BIGINT NOT NULL,
    labels BIGINT NOT NULL, settings VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE run (
    id VARCHAR NOT NULL PRIMARY KEY, snapshot VARCHAR NOT NULL, method VARCHAR NOT NULL,
    model VARCHAR NOT NULL, settings VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE vote (
    id VARCHAR NOT NULL, assignment VARCHAR NOT NULL, revision BIGINT NOT NULL,
    comparison VARCHAR NOT NULL, labeler VARCHAR NOT NULL, verdict VARCHAR NOT NULL,
    reasons VARCHAR NOT NULL, comment VARCHAR NOT NULL, seconds_spent DOUBLE,
    source VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL, PRIMARY KEY (assignment, revision),
    CHECK (verdict IN ('a', 'b', 'tie', 'both_bad', 'skip', 'undone'))
);
CREATE TABLE rating (
    id VARCHAR NOT NULL, assignment VARCHAR NOT NULL, revision BIGINT NOT NULL,
    response VARCHAR NOT NULL, labeler VARCHAR NOT NULL, verdict VARCHAR NOT NULL,
    reasons VARCHAR NOT NULL, comment VARCHAR NOT NULL, seconds_spent DOUBLE,
    source VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL, PRIMARY KEY (assignment, revision),
    CHECK (verdict IN ('up', 'down', 'skip', 'undone'))
);
CREATE TABLE edit (
    id VARCHAR NOT NULL, assignment VARCHAR NOT NULL, revision BIGINT NOT NULL,
    original VARCHAR NOT NULL, corrected VARCHAR NOT NULL, labeler VARCHAR NOT NULL,
    seconds_spent DOUBLE, source VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (assignment, revision)
);
CREATE TABLE command (
    id VARCHAR NOT NULL PRIMARY KEY, n BIGINT NOT NULL, kind VARCHAR NOT NULL,
    accepted BOOLEAN NOT NULL, error VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    digest VARCHAR NOT NULL, hash VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE batch (
    n BIGINT NOT NULL PRIMARY KEY, "rows" BIGINT NOT NULL, created_at TIMESTAMP NOT NULL
)"""


def first_tables(connection: sa.Connection) -> None:
    """Create every table of the first version."""
    for statement in FIRST_TABLES.split(";"):
        connection.exec_driver_sql(statement)


QUALITY_TABLES = """
CREATE TABLE exclusion (
    id VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, item VARCHAR NOT NULL,
    decision VARCHAR NOT NULL, reason VARCHAR NOT NULL, labeler VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);
CREATE TABLE gold (
    id VARCHAR NOT NULL PRIMARY KEY, comparison VARCHAR NOT NULL, verdict VARCHAR NOT NULL,
    labeler VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE score (
    id VARCHAR NOT NULL PRIMARY KEY, response VARCHAR NOT NULL, model VARCHAR NOT NULL,
    adapter VARCHAR NOT NULL, logprob DOUBLE NOT NULL, tokens BIGINT NOT NULL,
    created_at TIMESTAMP NOT NULL
);
ALTER TABLE campaign ADD COLUMN shared DOUBLE DEFAULT 0.1;
ALTER TABLE campaign ALTER COLUMN shared SET NOT NULL;
ALTER TABLE campaign ADD COLUMN repeats DOUBLE DEFAULT 0.05;
ALTER TABLE campaign ALTER COLUMN repeats SET NOT NULL;
ALTER TABLE campaign ADD COLUMN gold DOUBLE DEFAULT 0.05;
ALTER TABLE campaign ALTER COLUMN gold SET NOT NULL"""


def quality_tables(connection: sa.Connection) -> None:
    """Add what the checks of preference data need: exclusions, gold verdicts, scores, shares."""
    for statement in QUALITY_TABLES.split(";"):
        connection.exec_driver_sql(statement)


WANTED_TABLE = """
CREATE TABLE wanted (
    id VARCHAR NOT NULL PRIMARY KEY, comparison VARCHAR NOT NULL, votes BIGINT NOT NULL,
    labeler VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
)"""


def wanted_table(connection: sa.Connection) -> None:
    """Add what is asked again: comparisons that want more votes than others."""
    connection.exec_driver_sql(WANTED_TABLE)


PROMOTION_TABLE = """
CREATE TABLE promotion (
    id VARCHAR NOT NULL PRIMARY KEY, run VARCHAR NOT NULL, evidence VARCHAR NOT NULL,
    reason VARCHAR NOT NULL, labeler VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
)"""


def promotion_table(connection: sa.Connection) -> None:
    """Add which adapter answers: a decision that opens a round."""
    connection.exec_driver_sql(PROMOTION_TABLE)


PEOPLE_TABLES = """
CREATE TABLE account (
    id VARCHAR NOT NULL PRIMARY KEY, role VARCHAR NOT NULL, password VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL, ended_at TIMESTAMP, CHECK (role IN ('labeler', 'lead'))
);
CREATE TABLE session (
    id VARCHAR NOT NULL PRIMARY KEY, account VARCHAR NOT NULL, ends_at TIMESTAMP NOT NULL,
    seen_at TIMESTAMP NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE invitation (
    id VARCHAR NOT NULL PRIMARY KEY, account VARCHAR NOT NULL, role VARCHAR NOT NULL,
    labeler VARCHAR NOT NULL, ends_at TIMESTAMP NOT NULL, used_at TIMESTAMP,
    created_at TIMESTAMP NOT NULL, CHECK (role IN ('labeler', 'lead'))
);
CREATE TABLE apikey (
    id VARCHAR NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, scopes VARCHAR NOT NULL,
    labeler VARCHAR NOT NULL, ended_at TIMESTAMP, created_at TIMESTAMP NOT NULL
);
CREATE TABLE audit (
    id VARCHAR NOT NULL PRIMARY KEY, labeler VARCHAR NOT NULL, did VARCHAR NOT NULL,
    what VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
)"""


def people_tables(connection: sa.Connection) -> None:
    """Add who may come in, by what, and what leads did."""
    for statement in PEOPLE_TABLES.split(";"):
        connection.exec_driver_sql(statement)


LOGGED_TABLE = """
CREATE TABLE logged (
    id VARCHAR NOT NULL PRIMARY KEY, response VARCHAR NOT NULL, labeler VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
)"""


def logged_table(connection: sa.Connection) -> None:
    """Add which responses a product showed, by the product's own ids."""
    connection.exec_driver_sql(LOGGED_TABLE)


ERASURE_TABLES = """
CREATE TABLE erasure (
    id VARCHAR NOT NULL PRIMARY KEY, kind VARCHAR NOT NULL, texts BIGINT NOT NULL,
    events BIGINT NOT NULL, labeler VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE erased (
    id VARCHAR NOT NULL PRIMARY KEY, erasure VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE rewritten (
    id VARCHAR NOT NULL PRIMARY KEY, digest VARCHAR NOT NULL, erasure VARCHAR NOT NULL
)"""


def erasure_tables(connection: sa.Connection) -> None:
    """Add what was erased on request, and how the chain holds over names that were replaced."""
    for statement in ERASURE_TABLES.split(";"):
        connection.exec_driver_sql(statement)


EXTRA_TABLE = """
CREATE TABLE extra (
    id VARCHAR NOT NULL PRIMARY KEY, text VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
)"""


def extra_table(connection: sa.Connection) -> None:
    """Add what imported rows said beyond what Hone reads."""
    connection.exec_driver_sql(EXTRA_TABLE)


CLUSTER_TABLE = """
CREATE TABLE "cluster" (
    id VARCHAR NOT NULL PRIMARY KEY, "cluster" VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
)"""


def cluster_table(connection: sa.Connection) -> None:
    """Add the clusters of prompts that were stored without one."""
    connection.exec_driver_sql(CLUSTER_TABLE)


CAMPAIGN_TABLES = """
CREATE TABLE adjudication (
    id VARCHAR NOT NULL PRIMARY KEY, comparison VARCHAR NOT NULL, verdict VARCHAR NOT NULL,
    reason VARCHAR NOT NULL, labeler VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE admission (
    id VARCHAR NOT NULL PRIMARY KEY, campaign VARCHAR NOT NULL, person VARCHAR NOT NULL,
    decision VARCHAR NOT NULL, labeler VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
CREATE TABLE remark (
    id VARCHAR NOT NULL PRIMARY KEY, vote VARCHAR NOT NULL, strength VARCHAR NOT NULL,
    aspects VARCHAR NOT NULL, labeler VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL
);
ALTER TABLE campaign ADD COLUMN mode VARCHAR DEFAULT 'both';
ALTER TABLE campaign ALTER COLUMN mode SET NOT NULL;
ALTER TABLE campaign ADD COLUMN state VARCHAR DEFAULT 'open';
ALTER TABLE campaign ALTER COLUMN state SET NOT NULL;
ALTER TABLE campaign ADD COLUMN sources VARCHAR DEFAULT '[]';
ALTER TABLE campaign ALTER COLUMN sources SET NOT NULL;
ALTER TABLE campaign ADD COLUMN models VARCHAR DEFAULT '[]';
ALTER TABLE campaign ALTER COLUMN models SET NOT NULL;
ALTER TABLE campaign ADD COLUMN since TIMESTAMP;
ALTER TABLE campaign ADD COLUMN labelers VARCHAR DEFAULT '[]';
ALTER TABLE campaign ALTER COLUMN labelers SET NOT NULL;
ALTER TABLE campaign ADD COLUMN trial BIGINT DEFAULT 0;
ALTER TABLE campaign ALTER COLUMN trial SET NOT NULL;
ALTER TABLE campaign ADD COLUMN trial_share DOUBLE DEFAULT 0.8;
ALTER TABLE campaign ALTER COLUMN trial_share SET NOT NULL;
ALTER TABLE campaign ADD COLUMN reasons VARCHAR DEFAULT '[]';
ALTER TABLE campaign ALTER COLUMN reasons SET NOT NULL;
ALTER TABLE campaign ADD COLUMN strengths VARCHAR DEFAULT '[]';
ALTER TABLE campaign ALTER COLUMN strengths SET NOT NULL;
ALTER TABLE campaign ADD COLUMN aspects VARCHAR DEFAULT '[]';
ALTER TABLE campaign ALTER COLUMN aspects SET NOT NULL"""


def campaign_tables(connection: sa.Connection) -> None:
    """Add several campaigns: whose, of what, until when; decisions of leads; added remarks."""
    for statement in CAMPAIGN_TABLES.split(";"):
        connection.exec_driver_sql(statement)


MIGRATIONS: dict[int, Callable[[sa.Connection], None]] = {
    1: first_tables,
    2: quality_tables,
    3: wanted_table,
    4: promotion_table,
    5: people_tables,
    6: campaign_tables,
    7: logged_table,
    8: erasure_tables,
    9: extra_table,
    10: cluster_table,
}


def migrate(engine: sa.Engine, path: Path) -> list[int]:
    """Bring the database to the newest version; return the numbers of the steps that ran.

    Raises:
        StoreError: the file was written by a newer Hone, whose steps this one does not know.
    """
    with engine.begin() as connection:
        connection.exec_driver_sql(CREATE_MIGRATION)
    with engine.connect() as connection:
        done = {number for (number,) in connection.exec_driver_sql("SELECT number FROM migration")}
    newer = sorted(done - set(MIGRATIONS))
    if newer:
        raise StoreError(
            f"{path} was written by a newer Hone: its version is {newer[-1]}, this one knows up to "
            f"{max(MIGRATIONS)}. Update Hone, or use another data folder with --data."
        )
    missing = sorted(set(MIGRATIONS) - done)
    for number in missing:
        with engine.begin() as connection:
            MIGRATIONS[number](connection)
            connection.exec_driver_sql(
                "INSERT INTO migration VALUES (?, ?, ?)",
                (number, MIGRATIONS[number].__name__, datetime.now(UTC).replace(tzinfo=None)),
            )
    return missing
