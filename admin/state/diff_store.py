"""What was found of shadows, in the store: a row a route, and examples bounded by count and age."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Delete, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from admin.state.schema import diff_examples, diffs
from admin.state.store import StoreError, one_line

MOST_EXAMPLES = 1000
"""Of each route; the newest stay."""
LONGEST_AGE = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class KeptDiffs:
    """One route's diffs with the shadow `upstream`, begun at the revision `since`. `state` is `DiffReport.state`; `copied` and
    `dropped` (by reason) are what the workers counted."""

    since: int
    upstream: str
    state: dict[str, Any]
    copied: int
    dropped: dict[str, int]


@dataclass(slots=True)
class DiffsChange:
    """What one transaction writes. A route of None is removed. The examples of `afresh` go before those of `examples` come."""

    routes: dict[str, KeptDiffs | None] = field(default_factory=dict)
    afresh: set[str] = field(default_factory=set)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class DiffStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def load(self) -> dict[str, KeptDiffs]:
        """Raises StoreError, also for what `write` never wrote."""
        try:
            async with self._engine.connect() as connection:
                return {
                    row.route: _kept(row.since, row.upstream, row.value)
                    for row in await connection.execute(select(diffs))
                }
        except (SQLAlchemyError, ValueError, KeyError, TypeError) as error:
            raise StoreError(one_line(error)) from error

    async def write(self, change: DiffsChange, now: float) -> None:
        """All of it or, with a StoreError, nothing. `now` is Unix time."""
        gone = [route for route, kept in change.routes.items() if kept is None]
        try:
            async with self._engine.begin() as connection:
                await _remove_examples(connection, [*gone, *change.afresh])
                if change.routes:
                    await connection.execute(delete(diffs).where(diffs.c.route.in_(list(change.routes))))
                rows = [_row(route, kept) for route, kept in change.routes.items() if kept is not None]
                if rows:
                    await connection.execute(insert(diffs), rows)
                for route, examples in change.examples.items():
                    await _add_examples(connection, route, examples)
                await connection.execute(delete(diff_examples).where(diff_examples.c.at < now - LONGEST_AGE))
        except SQLAlchemyError as error:
            raise StoreError(one_line(error)) from error

    async def example(self, route: str, name: str) -> dict[str, Any] | None:
        """Raises StoreError."""
        here = (diff_examples.c.route == route) & (diff_examples.c.id == name)
        try:
            async with self._engine.connect() as connection:
                value = (await connection.execute(select(diff_examples.c.value).where(here))).scalar_one_or_none()
                return None if value is None else orjson.loads(value)
        except (SQLAlchemyError, ValueError) as error:
            raise StoreError(one_line(error)) from error


async def _remove_examples(connection: AsyncConnection, routes: list[str]) -> None:
    if routes:
        await connection.execute(delete(diff_examples).where(diff_examples.c.route.in_(routes)))


async def _add_examples(connection: AsyncConnection, route: str, examples: list[dict[str, Any]]) -> None:
    """One told twice (the shadow process reports all it has to a new admin process) is kept once."""
    rows = {
        each["id"]: {"route": route, "id": each["id"], "at": each["at"], "value": orjson.dumps(each).decode()}
        for each in examples[-MOST_EXAMPLES:]
    }
    if not rows:
        return
    of_route = diff_examples.c.route == route
    await connection.execute(delete(diff_examples).where(of_route & diff_examples.c.id.in_(list(rows))))
    await connection.execute(insert(diff_examples), list(rows.values()))
    await connection.execute(_beyond_the_bound(route))


def _beyond_the_bound(route: str) -> Delete:
    of_route = diff_examples.c.route == route
    newest_first = (diff_examples.c.at.desc(), diff_examples.c.id.desc())
    beyond = select(diff_examples.c.id).where(of_route).order_by(*newest_first).offset(MOST_EXAMPLES)
    return delete(diff_examples).where(of_route & diff_examples.c.id.in_(beyond.scalar_subquery()))


def _kept(since: int, upstream: str, value: str) -> KeptDiffs:
    found: Mapping[str, Any] = orjson.loads(value)
    return KeptDiffs(since, upstream, found["state"], found["copied"], found["dropped"])


def _row(route: str, kept: KeptDiffs) -> dict[str, Any]:
    value = orjson.dumps({"state": kept.state, "copied": kept.copied, "dropped": kept.dropped}).decode()
    return {"route": route, "since": kept.since, "upstream": kept.upstream, "value": value}
