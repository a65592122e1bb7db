"""The tables. A new database gets them as they stand here, an older one by alembic's migrations (migrations/versions); a test
keeps the two equal.

`kept` holds state by scope: `(scope, name)` -> JSON, with the revision it was written at. The row `("gateway", "revision")`
is what every change compares and sets, so that two writers can't both succeed.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

# The newest migration. Alembic costs a fifth of a second to import: it is, only where an older database says another.
SCHEMA = "0004"

# Alembic's own, as it makes it.
version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

metadata = MetaData()

kept = Table(
    "kept",
    metadata,
    Column("scope", String(32), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("value", JSON, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    # SQLite counts up by itself only in a column that is exactly INTEGER.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("who", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    Column("route", String(255)),
    Column("reason", Text, nullable=False),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Column("receipt", JSON),
    Column("node", String(255), nullable=False),
    Column("hash", String(64), nullable=False, server_default=""),  # admin.state.chain
    Index("audit_route", "route", "id"),
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("created_by", String(255), nullable=False, server_default=""),
    Column("expires_at", String(32)),  # UTC, or null: never
    Column("last_used", String(10)),  # a day, UTC
)

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# `value` is JSON, as a text: a state may be a megabyte, written every few seconds, and orjson takes a fifth of the time.
diffs = Table(
    "diffs",
    metadata,
    Column("route", String(255), primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("upstream", String(255), nullable=False),
    Column("value", Text, nullable=False),
)

diff_examples = Table(
    "diff_examples",
    metadata,
    Column("route", String(255), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("at", Float, nullable=False),  # Unix time
    Column("value", Text, nullable=False),
    Index("diff_examples_age", "route", "at"),
)
