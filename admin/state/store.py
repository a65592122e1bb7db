"""The store: what is kept, read and changed, over any database that SQLAlchemy speaks to.

Every change is one transaction together with its audit entries, and compares the revision it was made from: a writer that
has not seen the last change gets StaleRevisionError, and nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, insert, inspect, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin.state.chain import HEAD, Head, as_read, chained
from admin.state.schema import SCHEMA, audit, kept, meta, metadata, tokens, version
from proxy.tasks import spawn

Key = tuple[str, str]
_CLOSING = 2.0  # seconds
_NO_TEXT = "Could not decode to UTF-8"
"""What SQLite's driver says of such a text; it gives no code."""
REVISION: Key = ("gateway", "revision")
DOCUMENT: Key = ("config", "document")
# What stands before a name.
ROUTE = "route"
UPSTREAM = "upstream"
ROLLOUT = "rollout"


class StoreUnusableError(Exception):
    """The database can't be opened, read or migrated; the message is one line for people."""


class StoreCorruptError(StoreUnusableError):
    """What is in the file is no database, or a damaged one."""


class StoreError(Exception):
    """A read or a write did not succeed now; it may later."""


class UnreadableEntryError(StoreError):
    """An entry of the audit log is not what was written there."""


class StaleRevisionError(Exception):
    """Somebody else has changed the state since; `stored` is the revision there is."""

    def __init__(self, stored: int) -> None:
        super().__init__(f"the store is at revision {stored}")
        self.stored = stored


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change. `id` is 0 and `hash` empty until it is stored; `at` is UTC in ISO 8601; `route` is None for what is not one
    route's."""

    revision: int
    at: str
    who: str
    action: str
    route: str | None
    reason: str
    before: object
    after: object
    receipt: object
    node: str
    id: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    revision: int
    value: Any


@dataclass(frozen=True, slots=True)
class Token:
    """`created_at` and `expires_at` (None: never) are UTC in ISO 8601, `last_used` a day."""

    name: str
    digest: str
    role: str
    created_at: str
    created_by: str = ""
    expires_at: str | None = None
    last_used: str | None = None

    def has_expired(self, now: str) -> bool:
        """Times of one form compare as texts."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(slots=True)
class Change:
    """Everything one transaction writes. A state or token of None is removed. `number` is the journal's."""

    revision: int
    states: dict[Key, Any] = field(default_factory=dict)
    audit: list[AuditEntry] = field(default_factory=list)
    tokens: dict[str, Token | None] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that the start needs, read at once."""

    revision: int
    meta: Mapping[str, str]
    states: Mapping[Key, Kept]


class Store:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def open(self) -> Loaded:
        """Bring the schema up to date and read everything. Raises StoreUnusableError."""
        try:
            async with self._engine.begin() as connection:
                schema = await connection.run_sync(_schema_of)
                if schema != SCHEMA:
                    await _migrate(connection, schema)
                names = {row.name: row.value for row in await connection.execute(select(meta))}
                rows = await connection.execute(select(kept))
                states = {(row.scope, row.name): Kept(row.revision, row.value) for row in rows}
        except ValueError as error:  # a JSON column that holds something else
            raise StoreCorruptError(one_line(error)) from error
        except (SQLAlchemyError, OSError) as error:
            raise (StoreCorruptError if _damaged(error) else StoreUnusableError)(one_line(error)) from error
        revision = states.pop(REVISION, Kept(0, None)).revision
        return Loaded(revision, names, states)

    async def close(self) -> None:
        """A disk that hangs is not waited for."""
        closing = spawn(self._engine.dispose(), "store closing", lambda _: None)
        await asyncio.wait([closing], timeout=_CLOSING)

    async def remember(self, values: Mapping[str, str]) -> dict[str, str]:
        """Keep facts that are made once; returns what holds, which for a fact already known is the old value."""
        try:
            async with self._engine.begin() as connection:
                known = {row.name: row.value for row in await connection.execute(select(meta))}
                new = [{"name": name, "value": value} for name, value in values.items() if name not in known]
                if new:
                    await connection.execute(insert(meta), new)
        except SQLAlchemyError as error:
            raise StoreUnusableError(one_line(error)) from error
        return {**values, **known}

    async def commit(self, expected: int, change: Change) -> None:
        """All of the change, or StaleRevisionError or StoreError and nothing of it."""
        try:
            async with self._engine.begin() as connection:
                await _advance(connection, expected, change.revision)
                await _put(connection, change)
                for name, token in change.tokens.items():
                    await _put_token(connection, name, token)
                if change.audit:
                    await _append(connection, change.audit)
        except SQLAlchemyError as error:
            raise StoreError(one_line(error)) from error

    async def entries(self, *, route: str | None, before: int | None, limit: int) -> list[AuditEntry]:
        """The audit log, newest first; `before` is the id that the page before ended with."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if route is not None:
            query = query.where(audit.c.route == route)
        if before is not None:
            query = query.where(audit.c.id < before)
        return await self._read(query)

    async def entries_after(
        self,
        after: int,
        *,
        limit: int,
        upto: int | None = None,
        route: str | None = None,
        actions: Collection[str] = (),
    ) -> list[AuditEntry]:
        """The audit log, oldest first, from the entry after the one of that id. `actions`: only these, where there are any."""
        query = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit)
        if upto is not None:
            query = query.where(audit.c.id <= upto)
        if route is not None:
            query = query.where(audit.c.route == route)
        if actions:
            query = query.where(audit.c.action.in_(actions))
        return await self._read(query)

    async def entries_begin(
        self, since: str, *, most: int, route: str | None, actions: Collection[str]
    ) -> tuple[int, bool]:
        """Where to read on from for the entries of these actions since that time, at most so many: the id before the first one,
        and whether there are more."""
        query = select(audit.c.id).where(audit.c.at >= since, audit.c.action.in_(actions))
        if route is not None:
            query = query.where(audit.c.route == route)
        beyond = query.order_by(audit.c.id.desc()).offset(most).limit(1)
        first = select(func.min(query.subquery().c.id))
        try:
            async with self._engine.connect() as connection:
                if (left_out := (await connection.execute(beyond)).scalar_one_or_none()) is not None:
                    return left_out, True
                begins = (await connection.execute(first)).scalar_one()
                return (0 if begins is None else begins - 1), False
        except SQLAlchemyError as error:
            raise StoreError(one_line(error)) from error

    async def audit_head(self) -> tuple[Head, int]:
        """What the audit log should end with, and the id that it does end with (0: it is empty)."""
        try:
            async with self._engine.connect() as connection:
                return await _audit_head(connection)
        except SQLAlchemyError as error:
            raise StoreError(one_line(error)) from error

    async def next_entry(self, after: int | None, upto: int | None = None) -> int | None:
        """The id of the first entry, or of the first after that one, however damaged it is."""
        query = select(func.min(audit.c.id))
        if after is not None:
            query = query.where(audit.c.id > after)
        if upto is not None:
            query = query.where(audit.c.id <= upto)
        try:
            async with self._engine.connect() as connection:
                found: int | None = (await connection.execute(query)).scalar_one()
                return found
        except SQLAlchemyError as error:
            raise StoreError(one_line(error)) from error

    async def _read(self, query: Select[Any]) -> list[AuditEntry]:
        try:
            async with self._engine.connect() as connection:
                return [_audit_entry(row) for row in await connection.execute(query)]
        except ValueError as error:  # a JSON column that holds something else
            raise UnreadableEntryError(f"an entry of the audit log cannot be read: {one_line(error)}") from error
        except SQLAlchemyError as error:
            if _NO_TEXT in str(error):
                raise UnreadableEntryError(
                    "an entry of the audit log cannot be read: a text in it is no UTF-8"
                ) from error
            raise StoreError(one_line(error)) from error

    async def tokens(self) -> list[Token]:
        try:
            async with self._engine.connect() as connection:
                rows = await connection.execute(select(tokens).order_by(tokens.c.name))
                return [Token(**row._mapping) for row in rows]
        except SQLAlchemyError as error:
            raise StoreError(one_line(error)) from error

    async def put_token(self, token: Token) -> None:
        """Adds the token, or replaces the one of that name."""
        try:
            async with self._engine.begin() as connection:
                await _put_token(connection, token.name, token)
        except SQLAlchemyError as error:
            raise StoreError(one_line(error)) from error

    async def token_used(self, token: Token) -> None:
        """Keeps the day of its last use, of this very token and not of another that has its name by now."""
        here = (tokens.c.name == token.name) & (tokens.c.digest == token.digest)
        try:
            async with self._engine.begin() as connection:
                await connection.execute(update(tokens).where(here).values(last_used=token.last_used))
        except SQLAlchemyError as error:
            raise StoreError(one_line(error)) from error


async def _advance(connection: AsyncConnection, expected: int, revision: int) -> None:
    scope, name = REVISION
    here = (kept.c.scope == scope) & (kept.c.name == name)
    moved = await connection.execute(update(kept).where(here & (kept.c.revision == expected)).values(revision=revision))
    if moved.rowcount == 1:
        return
    stored = (await connection.execute(select(kept.c.revision).where(here))).scalar_one_or_none()
    if stored is not None or expected != 0:
        raise StaleRevisionError(stored or 0)
    await connection.execute(insert(kept), {"scope": scope, "name": name, "revision": revision, "value": {}})


_REMOVE = delete(kept).where((kept.c.scope == bindparam("in_scope")) & (kept.c.name == bindparam("of_name")))


async def _put(connection: AsyncConnection, change: Change) -> None:
    """In two statements however many states there are: a change of all routes is on the disk while its caller waits."""
    if not change.states:
        return
    await connection.execute(_REMOVE, [{"in_scope": scope, "of_name": name} for scope, name in change.states])
    rows = [
        {"scope": scope, "name": name, "revision": change.revision, "value": value}
        for (scope, name), value in change.states.items()
        if value is not None
    ]
    if rows:
        await connection.execute(insert(kept), rows)


async def _put_token(connection: AsyncConnection, name: str, token: Token | None) -> None:
    await connection.execute(delete(tokens).where(tokens.c.name == name))
    if token is not None:
        await connection.execute(insert(tokens), asdict(token))


def _schema_of(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()


def _make(connection: Connection) -> bool:
    """All tables of a new database. False where there is something in it."""
    if inspect(connection).get_table_names():
        return False
    metadata.create_all(connection)
    version.create(connection)
    connection.execute(insert(version).values(version_num=SCHEMA))
    return True


async def _migrate(connection: AsyncConnection, schema: str | None) -> None:
    if schema is None and await connection.run_sync(_make):
        return
    from admin.state import migrate  # alembic: not on the ordinary start

    if schema is not None and schema not in migrate.known_revisions():
        raise StoreUnusableError(f"its schema {schema} was made by a newer Headgate")
    await connection.run_sync(migrate.upgrade)


async def _append(connection: AsyncConnection, entries: list[AuditEntry]) -> None:
    """After `_advance`, which lets one writer in at a time."""
    head, newest = await _audit_head(connection)
    rows, head = chained(head, newest, [_audit_row(entry) for entry in entries])
    await connection.execute(insert(audit), rows)
    moved = await connection.execute(update(meta).where(meta.c.name == HEAD).values(value=head.text()))
    if moved.rowcount == 0:
        await connection.execute(insert(meta), {"name": HEAD, "value": head.text()})


async def _audit_head(connection: AsyncConnection) -> tuple[Head, int]:
    kept_head = select(meta.c.value).where(meta.c.name == HEAD).scalar_subquery()
    newest = select(func.max(audit.c.id)).scalar_subquery()
    text, number = (await connection.execute(select(kept_head, newest))).one()
    return Head.of_text(text), number or 0


def _audit_row(entry: AuditEntry) -> dict[str, Any]:
    names = ("revision", "at", "who", "action", "route", "reason", "node")
    return {
        **{name: getattr(entry, name) for name in names},
        **{name: as_read(getattr(entry, name)) for name in ("before", "after", "receipt")},
    }


def _audit_entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**row._mapping)


def _damaged(error: Exception) -> bool:
    """SQLITE_CORRUPT or SQLITE_NOTADB, extended or not."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in (11, 26)


def one_line(error: Exception) -> str:
    """What the driver said, without SQLAlchemy's statement and link."""
    original = getattr(error, "orig", None) or error
    return " ".join(str(original).split()) or type(original).__name__
