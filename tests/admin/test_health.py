"""Active checks: what turns an endpoint, what a check takes for an answer, and that what is found reaches the workers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from admin.health import Health, observe
from admin.probe import Target, probe
from proxy.control import InForce
from routing.config_upstreams import HealthCheck
from routing.notation import endpoint
from routing.snapshot import Endpoints, HostPolicy, Upstream
from tests.admin.conftest import Plane, Start, edit
from tests.support.fake_supervisor import FakeSupervisor

CHECK = HealthCheck(path="/up", healthy=2, unhealthy=3)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready"


@pytest.mark.parametrize(
    ("health", "results", "expected"),
    [
        (Health(True), [True], Health(True)),
        (Health(True), [False, False], Health(True, 2)),
        (Health(True), [False, False, True, False, False], Health(True, 2)),
        (Health(True), [False, False, False], Health(False)),
        (Health(False), [True], Health(False, 1)),
        (Health(False), [True, False, True], Health(False, 1)),
        (Health(False), [True, True], Health(True)),
        # what was never checked is turned by its first check
        (Health(True, checked=False), [False], Health(False)),
        (Health(False, checked=False), [True], Health(True)),
        (Health(True, checked=False), [True, False], Health(True, 1)),
        (Health(False, checked=False), [False, True], Health(False, 1)),
    ],
)
def test_so_many_checks_in_a_row_turn_an_endpoint(health: Health, results: list[bool], expected: Health) -> None:
    for passed in results:
        health = observe(health, passed, CHECK)
    assert health == expected


# One check


class Server:
    """Answers each connection with `answer`, and closes it; with `mute` set, says nothing."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.mute = False
        self.heads: list[bytes] = []
        self.url = ""
        self.open: list[asyncio.StreamWriter] = []

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.append(writer)
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            if self.mute:
                await reader.read()
            writer.write(self.answer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serving(answer: bytes = OK, unix: Path | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    if unix is None:
        listening = await asyncio.start_server(server.converse, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    else:
        listening = await asyncio.start_unix_server(server.converse, unix)
        server.url = f"unix://{unix}"
    async with listening:
        yield server
    for writer in server.open:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def target(url: str, **check: Any) -> Target:
    own = endpoint(url)
    upstream = Upstream(0, "blue", (own,), HostPolicy.PRESERVE, b"", None)
    return Target.of(upstream, own, HealthCheck(**{"path": "/up", **check}))


def answer(status: int, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nLocation: /other\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.mark.parametrize(
    ("raw", "check", "problem"),
    [
        (OK, {}, None),
        (answer(204), {}, None),
        (answer(302), {}, "status 302"),
        (answer(503), {}, "status 503"),
        (answer(302), {"status": [200, 302]}, None),
        (answer(200), {"status": 204}, "status 200"),
        (OK, {"body": {"contains": "ead"}}, None),
        (OK, {"body": {"contains": "steady"}}, "the body does not contain 'steady'"),
        (OK, {"body": {"regex": "^re.dy$"}}, None),
        (OK, {"body": {"contains": "ready", "regex": "^x"}}, "the body does not match '^x'"),
        (answer(200, b"x" * 100_000 + b"late"), {"body": {"contains": "late"}}, "the body does not contain 'late'"),
    ],
)
async def test_check_by_http(raw: bytes, check: dict[str, Any], problem: str | None) -> None:
    async with serving(raw) as server:
        assert await probe(target(server.url, **check)) == problem
    [head] = server.heads
    assert head.startswith(b"GET /up HTTP/1.1\r\nHost: " + server.url.removeprefix("http://").encode() + b"\r\n")


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nr"])
async def test_answer_that_is_none_fails_the_check(raw: bytes) -> None:
    async with serving(raw) as server:
        assert await probe(target(server.url, body={"contains": "r"}))


async def test_check_by_tcp_takes_a_connection_for_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # and never accepts
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert await probe(target(url, path=None, tcp=True)) is None
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for check in ({"path": None, "tcp": True}, {}):
            assert "Connect" in str(await probe(target(url, **check)))


async def test_check_of_a_unix_socket(tmp_path: Path) -> None:
    async with serving(unix=tmp_path / "app.sock") as server:
        assert await probe(target(server.url)) is None
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "bare.sock"))
        listening.listen()
        assert await probe(target(f"unix://{tmp_path}/bare.sock", path=None, tcp=True)) is None
    assert await probe(target(f"unix://{tmp_path}/gone"))


async def test_check_that_is_not_answered_in_time_fails() -> None:
    async with serving() as server:
        server.mute = True
        assert await probe(target(server.url, timeout=0.05)) == "no answer within 0.05 s"


# From a check to the workers

FAST = "health_check: {path: /up, interval: 10ms, healthy: 1, unhealthy: 1, timeout: 5s}"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


@pytest.fixture
def checked(config: Path, server: Server) -> str:
    """Upstream canary is checked, and its one endpoint is the server."""
    edit(config, '{endpoints: ["http://127.0.0.1:9003"]}', f'{{endpoints: ["{server.url}"], {FAST}}}')
    return server.url


async def found(plane: Plane, upstream: str = "canary") -> Any:
    answers = (await plane.call("GET", "/v1/upstreams")).json["upstreams"]
    return next(each for each in answers if each["upstream"] == upstream)


async def test_endpoint_that_fails_and_comes_back_is_told_to_the_workers(
    start: Start, checked: str, server: Server
) -> None:
    plane = await start()
    first = plane.supervisor.revision
    server.answer = answer(503)
    publish = await plane.supervisor.published_after(first)
    assert (publish.live, publish.endpoints) == ({}, {"canary": Endpoints(unhealthy=frozenset({checked}))})
    shown = await found(plane)
    assert (shown["healthy"], shown["endpoints"][0]["state"]) == (False, "unhealthy")
    assert shown["endpoints"][0]["problem"] == "status 503"
    route = (await plane.call("GET", "/v1/routes/shop")).json
    assert [route["upstreams"][name]["healthy"] for name in ("blue", "canary")] == [True, False]
    text = (await plane.call("GET", "/metrics")).text
    assert f'headgate_upstream_healthy{{endpoint="{checked}",upstream="canary"}} 0.0' in text
    server.answer = OK
    publish = await plane.supervisor.published_after(publish.revision)
    assert publish.endpoints == {"canary": Endpoints()}
    assert (await found(plane))["endpoints"][0] | {"problem": None} == (await found(plane))["endpoints"][0]


async def test_endpoint_that_is_down_at_the_start_is_out_after_its_first_check(
    start: Start, config: Path, checked: str, server: Server
) -> None:
    edit(config, "unhealthy: 1", "unhealthy: 100")
    server.answer = answer(500)
    plane = await start()
    publish = await plane.supervisor.published_after(plane.supervisor.published[0].revision)
    assert publish.endpoints == {"canary": Endpoints(unhealthy=frozenset({checked}))}


async def test_endpoint_added_live_gets_traffic_once_its_first_check_has_passed(
    start: Start, config: Path, checked: str
) -> None:
    edit(config, "healthy: 1,", "healthy: 100,")
    plane = await start()
    async with serving(answer(503)) as new:
        path = "/v1/upstreams/canary/endpoints"
        added = await plane.call("PUT", path, json={"endpoints": [checked, new.url]})
        assert [each["state"] for each in added.json["endpoints"]] == ["in", "unhealthy"]
        new.answer = OK
        publish = await plane.supervisor.published_after(added.json["revision"])
        assert publish.endpoints["canary"].unhealthy == frozenset()
        # removed while it is unhealthy, it leaves nothing behind
        await plane.call("PUT", path, json={"endpoints": [checked]})
        assert [each["state"] for each in (await found(plane))["endpoints"]] == ["in"]


async def test_admin_process_that_comes_back_goes_on_from_what_the_workers_have(
    start: Start, config: Path, checked: str, server: Server
) -> None:
    edit(config, "healthy: 1,", "healthy: 2,")
    supervisor = FakeSupervisor()
    supervisor.in_force = InForce(5, {}, {"canary": Endpoints(unhealthy=frozenset({checked}))})
    plane = await start(supervisor)
    assert supervisor.published[0].endpoints["canary"].unhealthy == {checked}
    publish = await supervisor.published_after(supervisor.published[0].revision)
    assert publish.endpoints == {"canary": Endpoints()}
    assert len(server.heads) >= 2
    assert (await found(plane))["healthy"]


async def test_upstream_that_is_checked_no_more_is_healthy_again(
    start: Start, config: Path, checked: str, server: Server
) -> None:
    server.answer = answer(500)
    plane = await start()
    await plane.supervisor.published_after(plane.supervisor.published[0].revision)
    edit(config, f", {FAST}", "")
    text, kind = await asyncio.to_thread(config.read_text), {"Content-Type": "text/yaml"}
    assert (await plane.call("PUT", "/v1/config", data=text, headers=kind)).status == 200
    assert (await found(plane))["healthy"]
    assert plane.supervisor.snapshot().upstreams[2].unhealthy == frozenset()


async def test_revisions_that_checks_make_leave_nothing_in_the_audit_log_and_fail_no_if_match(
    start: Start, checked: str, server: Server
) -> None:
    plane = await start()
    seen = (await found(plane))["revision"]
    server.answer = answer(500)
    await plane.supervisor.published_after(plane.supervisor.revision)
    entries = (await plane.call("GET", "/v1/audit")).json["entries"]
    assert [entry["action"] for entry in entries] == ["config"]
    put = await plane.call(
        "POST", "/v1/upstreams/canary/endpoints/drain", json={"endpoint": checked}, headers={"If-Match": f'"{seen}"'}
    )
    assert put.status == 200
