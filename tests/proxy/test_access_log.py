"""Lines of the access log, how long they get, and what happens where nobody takes them."""

from __future__ import annotations

import json
import os
import select
from pathlib import Path
from typing import Any

import pytest

from proxy import access_log
from proxy.access_log import AccessLog
from proxy.stats import WorkerStats
from tests.proxy.fakes import GET, OK, PEER, Scene, request


def lines(scene: Scene, path: Path) -> list[dict[str, Any]]:
    assert scene.plane.access_log is not None
    scene.plane.access_log.flush()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def test_line_says_what_was_asked_where_it_went_and_what_became_of_it(path: Path) -> None:
    scene = Scene(access_log={"path": str(path)})
    raw = request(
        b"Host: Shop.Example:80", b"X-Request-Id: r1", b"Content-Length: 3", method=b"PUT", target=b"/a?b", body=b"abc"
    )
    scene.ask(raw)[1].send(OK)
    [line] = lines(scene, path)
    assert line.pop("time") > 1_600_000_000
    assert 0 <= line.pop("ms") < 60_000
    assert line == {
        "client": PEER,
        "method": "PUT",
        "host": "shop.example",
        "path": "/a",
        "status": 200,
        "bytes_in": 3,
        "bytes_out": 2,
        "request_id": "r1",
        "route": "shop",
        "upstream": "blue",
        "endpoint": "http://10.0.0.1:8001",
        "reason": "weight",
        "attempts": 1,
    }


def test_line_of_a_failure_names_its_kind(path: Path) -> None:
    scene = Scene(access_log={"path": str(path)}, route={"match": {"path": "/a"}})
    scene.client().send(GET, request(target=b"/a"))
    scene.origin.send(b"broken\r\n")
    none, broken = lines(scene, path)
    assert (none["error"], none["status"], "route" in none) == ("no_route", 404, False)
    assert (broken["error"], broken["status"], broken["upstream"]) == ("bad_response", 502, "blue")


def test_line_of_the_longest_request_fits_into_a_pipe_at_once(path: Path) -> None:
    scene = Scene(access_log={"path": str(path)})
    long = request(b"Host: " + b"h" * 8000, b"X-Request-Id: " + b"\\" * 9000, target=b"/" + b'"' * 8000)
    scene.ask(long)[1].send(OK)
    assert lines(scene, path)[0]["path"] == "/" + '"' * 1023
    assert path.stat().st_size < select.PIPE_BUF


def test_sample_of_none_of_the_requests_writes_nothing(path: Path) -> None:
    scene = Scene()
    log = AccessLog(str(path), 1e-12, scene.plane.stats)
    scene.plane.access_log = log
    scene.ask()[1].send(OK)
    assert lines(scene, path) == []


def test_pipe_that_nobody_reads_loses_whole_lines_and_says_how_many(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    scene = Scene(limits={"requests_per_connection": 0})
    log = scene.plane.access_log = AccessLog(str(path), 1.0, scene.plane.stats)
    client, origin = scene.ask()
    sent = 0
    while not scene.count("access_log_dropped") and sent < 20_000:
        origin.send(OK)
        client.send(GET)
        client.received()
        origin.received()
        sent += 1
    assert scene.count("access_log_dropped") > 0
    got = bytearray()
    while chunk := _read(reader):
        got += chunk
        log.flush()
    os.close(reader)
    written = [json.loads(line) for line in got.splitlines()]
    assert len(written) + scene.count("access_log_dropped") == sent
    assert access_log.MAX_PENDING <= len(got) < access_log.MAX_PENDING + 200_000


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


def test_descriptor_that_fails_drops_and_counts(path: Path) -> None:
    stats = WorkerStats()
    scene = Scene()
    log = scene.plane.access_log = AccessLog("/dev/full", 1.0, stats)
    for _ in range(3):
        scene.ask()[1].send(OK)
    log.flush()
    assert stats.counters == {("access_log_dropped", ""): 3}
