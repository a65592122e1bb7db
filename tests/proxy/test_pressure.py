"""How short of memory a worker is, and what it does without then."""

from __future__ import annotations

import resource
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.capture_frames import Drop
from proxy.pressure import (
    AUTO_SHARE,
    CALM,
    NO_COPIES,
    NO_KEEPING,
    NO_REQUESTS,
    Pressure,
    auto_budget,
    level_of,
    resident,
    trim,
)
from routing.snapshot import AUTO
from tests.proxy.fakes import GET, OK, Scene, error_of, status

GIB = 1 << 30


@pytest.mark.parametrize(
    ("course", "levels"),
    [
        ([0, 84, 85, 91, 92, 94, 95, 120], [0, 0, 1, 1, 2, 2, 3, 3]),
        ([95, 91, 90, 89, 87, 86, 80, 79], [3, 3, 3, 2, 2, 1, 1, 0]),
        ([85, 81, 84, 81, 79, 84], [1, 1, 1, 1, 0, 0]),
        ([100, 0, 100], [3, 0, 3]),
    ],
)
def test_levels_begin_and_end_as_documented(course: list[int], levels: list[int]) -> None:
    found, level = [], CALM
    for used in course:
        level = level_of(used, 100, level)
        found.append(level)
    assert found == levels


@given(st.lists(st.integers(0, 1200), max_size=50))
def test_level_changes_only_with_a_change_of_use_that_is_worth_it(course: list[int]) -> None:
    level, seen = CALM, list[tuple[int, int]]()
    for used in course:
        level = level_of(used, 1000, level)
        assert level_of(used, 1000, level) == level
        seen.append((used, level))
    for (before, old), (used, new) in pairwise(seen):
        assert (new <= old) or used > before
        assert (new >= old) or used < before


def test_without_a_budget_there_is_no_pressure() -> None:
    assert level_of(1 << 50, 0, NO_REQUESTS) == CALM


def test_worker_knows_what_it_has_in_use() -> None:
    pressure = Pressure()
    assert pressure.look(0, 1) == CALM
    assert pressure.look(AUTO, 1) == CALM
    trim()  # what looking would give back anyway
    assert 0 < pressure.used <= resident() + GIB
    assert pressure.look(resident(), 1) == NO_REQUESTS
    assert pressure.look(resident() * 4, 4) == NO_REQUESTS  # the share of one worker of four
    assert pressure.look(GIB * 1024, 1) == CALM


def test_worker_without_a_descriptor_left_knows_it_still() -> None:
    resident()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert resident() > 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("own", "bounds", "expected"),
    [
        ("0::/", {}, 8 * GIB),
        ("0::/", {"": "max"}, 8 * GIB),
        ("0::/", {"": str(2 * GIB)}, 2 * GIB),
        ("0::/a/b", {"a/b": "max", "a": str(GIB)}, GIB),
        ("0::/a/b", {"a/b": str(GIB), "a": str(2 * GIB)}, GIB),
        ("0::/gone", {"": str(GIB)}, GIB),
        ("4:memory:/a", {}, 8 * GIB),
        ("0::/", {"": str(64 * GIB)}, 8 * GIB),
    ],
)
def test_auto_is_a_share_of_the_least_bound(tmp_path: Path, own: str, bounds: dict[str, str], expected: int) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal:  {8 * GIB // 1024} kB\nMemFree: 1 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(own + "\n")
    for group, bound in bounds.items():
        (tmp_path / "sys/fs/cgroup" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/fs/cgroup" / group / "memory.max").write_text(bound + "\n")
    assert auto_budget(tmp_path) == int(expected * AUTO_SHARE)


def test_where_nothing_is_known_auto_is_none(tmp_path: Path) -> None:
    assert auto_budget(tmp_path) == 0


# On the data plane


def test_kept_connection_is_closed_with_its_answer() -> None:
    scene = Scene()
    client, origin = scene.ask()
    origin.send(OK)
    assert b"Connection: close" not in client.received()
    scene.plane.under_pressure(NO_KEEPING)
    client.send(GET)
    origin.send(OK)
    answer = client.received()
    assert status(answer) == 200
    assert b"\r\nConnection: close\r\n" in answer
    assert client.closed


def test_new_requests_are_refused_and_what_has_begun_is_ended() -> None:
    scene = Scene()
    begun, origin = scene.ask()
    scene.plane.under_pressure(NO_REQUESTS)
    late = scene.client().send(GET)
    answer = late.received()
    assert (status(answer), error_of(answer)) == (503, "memory")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert late.closed
    origin.send(OK)
    assert status(begun.received()) == 200
    assert len(scene.origins) == 1
    assert scene.count("gateway_errors", "memory") == 1
    scene.plane.under_pressure(CALM)
    calm = scene.client().send(GET)
    scene.origin.send(OK)
    assert status(calm.received()) == 200


def test_copies_go_first() -> None:
    scene = Scene(route={"shadow": {"upstream": "canary", "percent": 100}})
    scene.plane.under_pressure(NO_COPIES)
    client, origin = scene.ask()
    origin.send(OK)
    assert status(client.received()) == 200
    assert not client.closed
    assert scene.plane.stats.take_copies() == ({}, {("shop", Drop.MEMORY.value): 1})
