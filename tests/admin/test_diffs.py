"""Keeping what was found of shadows: what is void, what is written when, what survives, and what Prometheus is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from admin.diffs import Begun, Diffs
from admin.state import diff_store
from admin.state.diff_store import LONGEST_AGE, DiffsChange, DiffStore, KeptDiffs
from admin.state.engine import embedded_engine
from admin.state.store import Store, StoreError
from proxy.control import DiffReport, DiffsKept, DiffsWanted, Stats
from shadow.answer import Answer
from shadow.findings import PairFacts, RouteFindings
from shadow.verdict import Compared, Difference, Third
from tests.support.wire import PATIENCE

NOW = time.time()  # examples of last year would not be kept


def pair() -> PairFacts:
    answer = Answer(200, [], b"", 0.001)
    return PairFacts(b"GET", b"/cart", b"GET /cart HTTP/1.1\r\n\r\n", answer, answer)


def difference(field: str) -> Difference:
    return Difference(field, "changed", "1", "2", "int", "int", 1.0, 2.0)


def report(since: int = 0, matched: int = 0, differing: int = 0, field: str = "$.price") -> DiffReport:
    """What the shadow process says after so many pairs."""
    findings = RouteFindings("shop", since)
    endpoint = findings.endpoint(b"GET", b"/cart")
    for _ in range(matched):
        findings.matched(endpoint, 0.001, 0.001, third=False)
    for number in range(differing):
        compared = Compared("", (difference(field),), (), frozenset({field}))
        findings.compared(endpoint, compared, Third.TRIGGERED, pair(), NOW + 60 * number)
    for _ in range(matched + differing):
        findings.outcome("ok")
    findings.dropped("timeout", 2)
    found = findings.take_report(NOW)
    assert found is not None
    return replace(found, state=orjson.loads(orjson.dumps(found.state)))


@dataclass
class Kept:
    """Diffs over a real store, with what they send and the errors they meet."""

    diffs: Diffs
    store: DiffStore
    sent: list[DiffsKept]
    errors: list[BaseException]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiffStore]:
    engine = embedded_engine(tmp_path)
    await Store(engine).open()
    yield DiffStore(engine)
    await engine.dispose()


@pytest.fixture
async def kept(store: DiffStore) -> AsyncIterator[Kept]:
    sent: list[DiffsKept] = []
    errors: list[BaseException] = []
    diffs = Diffs(sent.append, errors.append)
    diffs.open(store, {}, {"shop": Begun(0, "next"), "api": None})
    yield Kept(diffs, store, sent, errors)
    await diffs.close(5.0)


async def test_a_report_is_judged_kept_and_told_to_the_next_shadow_process(kept: Kept) -> None:
    told = report(matched=90, differing=10)
    kept.diffs.received(told)
    judged = kept.diffs.judged("shop")
    assert (judged["compared"], judged["matched"], judged["mismatched"]) == (100, 90, 10)
    assert [finding["field"] for finding in judged["findings"]] == ["$.price"]
    assert await kept.diffs.flush()
    loaded = await kept.store.load()
    assert loaded == {"shop": KeptDiffs(0, "next", told.state, 0, {})}
    kept.diffs.received(DiffsWanted())
    assert kept.sent == [DiffsKept({"shop": told.state})]


async def test_a_report_from_before_a_fresh_start_is_void_and_one_from_after_it_begins_anew(kept: Kept) -> None:
    kept.diffs.received(report(matched=5, differing=1))
    kept.diffs.adopt({"shop": Begun(7, "next")}, whole=False)
    kept.diffs.received(report(matched=9))
    assert kept.diffs.judged("shop")["compared"] == 0
    kept.diffs.received(report(since=9, matched=3))  # the publish of revision 9 is still under way
    assert kept.diffs.judged("shop")["compared"] == 3
    kept.diffs.adopt({"shop": Begun(9, "later")}, whole=False)
    assert kept.diffs.judged("shop")["compared"] == 3
    assert kept.diffs.compared() == {"shop": "later"}


async def test_a_fresh_start_deletes_what_was_stored(kept: Kept) -> None:
    told = report(differing=3)
    kept.diffs.received(told)
    await kept.diffs.flush()
    name = told.examples[0]["id"]
    assert await kept.store.example("shop", name) is not None
    kept.diffs.adopt({"shop": Begun(7, "next")}, whole=False)
    assert await kept.diffs.example("shop", name) is None
    await kept.diffs.flush()
    assert await kept.store.example("shop", name) is None
    assert (await kept.store.load())["shop"] == KeptDiffs(7, "next", {}, 0, {})


async def test_what_workers_did_not_copy_is_among_what_was_dropped(kept: Kept) -> None:
    kept.diffs.received(report(matched=1))
    for _ in range(2):
        kept.diffs.received(
            Stats(
                0, [], {}, {}, {"shop": 5}, {("shop", "queue_full"): 3, ("shop", "timeout"): 1, ("api", "upgrade"): 1}
            )
        )
    assert kept.diffs.judged("shop")["dropped"] == {"timeout": 4, "queue_full": 6}
    assert kept.diffs.dropped == {("shop", "timeout"): 4, ("shop", "queue_full"): 6, ("api", "upgrade"): 2}
    assert kept.diffs.copied == {"shop": 10}
    await kept.diffs.flush()
    assert (await kept.store.load())["shop"].dropped == {"queue_full": 6, "timeout": 2}


async def test_ignoring_a_field_judges_what_was_found_before_anew(kept: Kept) -> None:
    kept.diffs.received(report(matched=90, differing=10))
    kept.diffs.adopt({"shop": Begun(0, "next", ("$.price",))}, whole=False)
    judged = kept.diffs.judged("shop")
    assert (judged["matched"], judged["mismatched"], judged["findings"]) == (100, 0, [])


async def test_counters_for_prometheus_never_fall(kept: Kept) -> None:
    diffs = kept.diffs
    diffs.received(report(matched=90, differing=10))
    assert diffs.verdicts()["shop", "mismatched"] == 10
    diffs.adopt({"shop": Begun(0, "next", ("$.price",))}, whole=False)
    assert (diffs.verdicts()["shop", "matched"], diffs.verdicts()["shop", "mismatched"]) == (90, 10)
    diffs.adopt({"shop": Begun(7, "next", ("$.price",))}, whole=False)
    diffs.received(report(since=7, matched=5))
    assert diffs.verdicts()["shop", "matched"] == 95
    diffs.received(report(since=7, matched=2))  # another shadow process, which knows less
    assert diffs.verdicts()["shop", "matched"] == 95
    diffs.received(report(since=7, matched=4))
    assert diffs.verdicts()["shop", "matched"] == 97
    assert diffs.outcomes["shop", "ok"] == 107
    assert diffs.dropped["shop", "timeout"] == 4


async def test_what_was_found_before_this_process_is_shown_and_no_news_to_prometheus(store: DiffStore) -> None:
    old = report(matched=50)
    diffs = Diffs(lambda _: None, lambda _: None)
    diffs.received(report(matched=60))  # before the store was read
    diffs.open(store, {"shop": KeptDiffs(0, "next", old.state, 3, {"backoff": 1})}, {"shop": Begun(0, "next")})
    assert (diffs.judged("shop")["compared"], diffs.judged("shop")["dropped"]) == (60, {"timeout": 2, "backoff": 1})
    assert diffs.verdicts()["shop", "matched"] == 10
    await diffs.close(5.0)


@pytest.mark.parametrize(
    "old",
    [
        KeptDiffs(9, "next", report(since=9, matched=5).state, 0, {}),  # a revision that was never stored
        KeptDiffs(2, "next", report(since=2, matched=5).state, 0, {}),
        KeptDiffs(3, "next", {"version": 0, "since": 3}, 0, {}),
    ],
)
async def test_kept_diffs_that_do_not_fit_are_void(store: DiffStore, old: KeptDiffs) -> None:
    diffs = Diffs(lambda _: None, lambda _: None)
    diffs.open(store, {"shop": old}, {"shop": Begun(3, "next")})
    assert diffs.judged("shop")["compared"] == 0
    diffs.received(report(since=3, matched=4))
    assert diffs.judged("shop")["compared"] == 4
    await diffs.close(5.0)


async def test_a_route_that_is_gone_takes_its_diffs_along(kept: Kept) -> None:
    told = report(differing=1)
    kept.diffs.received(told)
    await kept.diffs.flush()
    kept.diffs.adopt({"api": None}, whole=True)
    await kept.diffs.flush()
    assert (await kept.store.load(), await kept.store.example("shop", told.examples[0]["id"])) == ({}, None)
    kept.diffs.received(report(matched=1))
    assert kept.diffs.compared() == {}


class Broken(DiffStore):
    """Fails until it is mended."""

    mended = False

    async def write(self, change: DiffsChange, now: float) -> None:
        if not self.mended:
            raise StoreError("disk full")
        await super().write(change, now)


async def test_a_store_that_fails_is_counted_and_tried_again_and_nothing_is_lost(store: DiffStore) -> None:
    broken, errors = Broken(store._engine), list[BaseException]()
    diffs = Diffs(lambda _: None, errors.append)
    diffs.open(broken, {}, {"shop": Begun(0, "next")})
    told = report(differing=2)
    diffs.received(told)
    assert not await diffs.flush()
    assert (diffs.failures, [str(error) for error in errors]) == (1, ["disk full"])
    name = told.examples[0]["id"]
    assert (await diffs.example("shop", name) or {})["id"] == name
    broken.mended = True
    assert await diffs.flush()
    assert (await broken.load())["shop"].state == told.state
    assert await broken.example("shop", name) is not None
    await diffs.close(5.0)


async def test_news_is_written_by_itself_and_the_rest_at_the_end(
    store: DiffStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin.diffs.WRITE_SECONDS", 0.0)
    written = asyncio.Event()
    write = store.write

    async def told(change: DiffsChange, now: float) -> None:
        await write(change, now)
        written.set()

    monkeypatch.setattr(store, "write", told)
    diffs = Diffs(lambda _: None, lambda _: None)
    diffs.open(store, {}, {"shop": Begun(0, "next")})
    diffs.received(report(matched=1))
    await asyncio.wait_for(written.wait(), PATIENCE)
    last = report(matched=2)
    diffs.received(last)
    await diffs.close(5.0)
    assert (await store.load())["shop"].state == last.state


def example(name: str, at: float) -> dict[str, Any]:
    return {"id": name, "at": at}


async def names(store: DiffStore, *asked: str) -> list[str]:
    return [name for name in asked if await store.example("shop", name) is not None]


async def test_examples_are_bounded_by_count_and_age_and_kept_once(
    store: DiffStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff_store, "MOST_EXAMPLES", 3)
    now = time.time()
    await store.write(DiffsChange(examples={"shop": [example(f"{n}", now + n) for n in range(3)]}), now)
    await store.write(DiffsChange(examples={"shop": [example("2", now + 2), example("3", now + 3)]}), now)
    assert await names(store, "0", "1", "2", "3") == ["1", "2", "3"]
    await store.write(DiffsChange(examples={"api": [example("x", now + LONGEST_AGE)]}), now + LONGEST_AGE + 2.5)
    assert await names(store, "1", "2", "3") == ["3"]
