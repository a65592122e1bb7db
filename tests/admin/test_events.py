"""GET /v1/events with real clients: what they get, from where on, and what becomes of those that take too little."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from admin.events import MOST_FOLLOWERS, MOST_KEPT, MOST_KEPT_BYTES, MOST_WAITING, Drop, Feed
from tests.admin.conftest import Plane
from tests.admin.receiver import until
from tests.support.wire import PATIENCE


@dataclass(slots=True)
class Event:
    """One block of the stream, by the names of its fields; `comment` where it is one."""

    fields: dict[str, str] = field(default_factory=dict)
    comment: bool = False

    @property
    def about(self) -> Any:
        return json.loads(self.fields["data"])


@dataclass(slots=True)
class Stream:
    response: aiohttp.ClientResponse

    async def next(self) -> Event | None:
        """None at the end."""
        event = Event()
        async with asyncio.timeout(PATIENCE):
            while line := (await self.response.content.readline()).decode():
                if line == "\n":
                    return event
                if line.startswith(":"):
                    event.comment = True
                else:
                    name, _, value = line.rstrip("\n").partition(": ")
                    event.fields[name] = value
        return None

    async def of(self, kind: str) -> Event:
        while (event := await self.next()) is not None:
            if event.fields.get("event") == kind:
                return event
        raise AssertionError(f"the stream has ended without {kind}")


@asynccontextmanager
async def following(plane: Plane, **headers: str) -> AsyncIterator[Stream]:
    """Begins after the stream has."""
    headers = {"Authorization": f"Bearer {plane.token}", **headers}
    async with plane.session.get(plane.url + "/v1/events", headers=headers) as response:
        assert response.status == 200
        yield Stream(response)


async def weights(plane: Plane, reason: str) -> int:
    answer = await plane.call("PUT", "/v1/routes/rest/weights", json={"weights": {"green": 1}, "reason": reason})
    revision: int = answer.json["revision"]
    return revision


async def test_a_change_is_told_with_who_what_and_why(plane: Plane) -> None:
    async with following(plane) as stream:
        assert stream.response.headers["Content-Type"].startswith("text/event-stream")
        assert stream.response.headers["Cache-Control"] == "no-store"
        assert stream.response.headers["X-Accel-Buffering"] == "no"
        first = await stream.next()
        assert first is not None
        assert first.fields.keys() == {"retry", "id"}
        revision = await weights(plane, "SHOP-1")
        change = await stream.of("change")
        assert change.about.pop("at")
        assert change.about | {"at": ""} == {
            "revision": revision,
            "action": "weights",
            "who": "admin",
            "reason": "SHOP-1",
            "at": "",
            "routes": ["rest"],
            "upstreams": [],
        }
        endpoint = {"endpoint": "http://127.0.0.1:9011"}
        await plane.call("POST", "/v1/upstreams/blue/endpoints/drain", json=endpoint)
        drained = (await stream.of("change")).about
        assert (drained["action"], drained["routes"], drained["upstreams"]) == ("endpoint_drain", [], ["blue"])
        await plane.call("POST", "/v1/cutback")
        assert (await stream.of("change")).about["routes"] == ["shop", "api", "rest"]


async def test_a_dry_run_and_a_refused_change_are_no_news(plane: Plane) -> None:
    async with following(plane) as stream:
        await plane.call("POST", "/v1/routes/shop/cutback?dry_run=true")
        await plane.call("DELETE", "/v1/routes/shop/cutback")
        await weights(plane, "the first")
        assert (await stream.of("change")).about["reason"] == "the first"


async def test_a_rollout_is_told_as_it_goes(plane: Plane) -> None:
    async with following(plane) as stream:
        plan = {"to": "canary", "steps": [{"weight": 5, "hold": "1h"}]}
        assert (await plane.call("POST", "/v1/routes/rest/rollout", json=plan)).status == 200
        started = (await stream.of("rollout")).about
        assert (started["route"], started["event"], started["rollout"]["to"]) == ("rest", "started", ["canary"])
        await plane.call("POST", "/v1/routes/rest/rollout/abort", json={"reason": "enough"})
        while (told := (await stream.of("rollout")).about)["event"] == "step":
            pass
        assert (told["event"], told["rollout"]["state"]) == ("aborted", "aborted")
        assert told["sentence"].startswith("rest: the rollout to canary was aborted at step 1 of 1 (weight 5 %): ")


async def test_heartbeats_are_comments(plane: Plane) -> None:
    plane.context.news.feed.heartbeat = 0.01
    async with following(plane) as stream:
        await stream.next()
        beats = [await stream.next(), await stream.next()]
        assert [(beat.comment, beat.fields) for beat in beats if beat is not None] == [(True, {}), (True, {})]


async def test_who_comes_back_gets_what_it_missed(plane: Plane) -> None:
    async with following(plane) as stream:
        await weights(plane, "seen")
        last = (await stream.of("change")).fields["id"]
    await weights(plane, "missed 1")
    await weights(plane, "missed 2")
    async with following(plane, **{"Last-Event-ID": last}) as stream:
        found = [(await stream.of("change")).about["reason"] for _ in range(2)]
        await weights(plane, "new")
        assert [*found, (await stream.of("change")).about["reason"]] == ["missed 1", "missed 2", "new"]


async def test_the_id_at_the_beginning_is_one_to_come_back_with(plane: Plane) -> None:
    async with following(plane) as stream:
        first = await stream.next()
        assert first is not None
    await weights(plane, "missed")
    async with following(plane, **{"Last-Event-ID": first.fields["id"]}) as stream:
        assert (await stream.of("change")).about["reason"] == "missed"


@pytest.mark.parametrize("last", ["0badcafe-0", "nonsense", "-", "0badcafe-" + "9" * 400])
async def test_an_id_of_another_time_gets_a_reset(last: str, plane: Plane) -> None:
    async with following(plane, **{"Last-Event-ID": last}) as stream:
        assert (await stream.of("reset")).about == {}
        await weights(plane, "new")
        assert (await stream.of("change")).about["reason"] == "new"


async def test_head_has_no_stream(plane: Plane) -> None:
    answer = await plane.call("HEAD", "/v1/events")
    assert (answer.status, plane.context.news.feed.followers) == (200, 0)


async def ended(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), PATIENCE):
            pass


async def test_a_client_that_reads_nothing_is_cut_off_and_counted(plane: Plane) -> None:
    feed: Feed = plane.context.news.feed
    host, port = plane.url.removeprefix("http://").split(":")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (host, int(port)))
        head = f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {plane.token}\r\n\r\n"
        await loop.sock_sendall(sock, head.encode())
        await until(lambda: feed.followers == 1)
        async with following(plane) as reading:
            for number in range(20 * MOST_WAITING):
                feed.publish("change", {"number": number, "text": "x" * 20_000})
                assert (await reading.of("change")).about["number"] == number
                if feed.drops[Drop.SLOW]:
                    break
            assert (feed.drops, feed.followers) == ({Drop.SLOW: 1, Drop.FULL: 0}, 1)
        await ended(sock)
    metrics = (await plane.call("GET", "/metrics")).text
    assert 'headgate_event_streams_dropped_total{reason="slow"} 1.0' in metrics


async def test_there_is_room_for_so_many_and_the_gone_make_room(plane: Plane) -> None:
    feed: Feed = plane.context.news.feed
    alive = True
    for _ in range(MOST_FOLLOWERS):
        assert feed.follow(None, lambda: alive, lambda: None) is not None
    answer = await plane.call("GET", "/v1/events")
    assert (answer.status, answer.headers["Retry-After"], feed.drops[Drop.FULL]) == (503, "1", 1)
    alive = False
    async with following(plane):
        assert feed.followers == 1


async def test_a_token_that_is_revoked_ends_its_stream(plane: Plane) -> None:
    made = (await plane.call("POST", "/v1/tokens", json={"name": "ci", "role": "viewer"})).json
    plane.context.news.feed.heartbeat = 0.01
    async with following(plane, Authorization=f"Bearer {made['token']}") as stream:
        await stream.next()
        await plane.call("DELETE", "/v1/tokens/ci")
        while await stream.next() is not None:
            pass
        assert plane.context.news.feed.followers == 0


async def test_the_end_of_the_api_ends_streams(plane: Plane) -> None:
    async with following(plane) as stream:
        await stream.next()
        plane.supervisor.close()
        assert await stream.next() is None


async def test_what_is_kept_has_a_bound_in_number_and_bytes() -> None:
    feed = Feed()
    for number in range(MOST_KEPT + 10):
        feed.publish("change", {"number": number})
    begun = feed.follow(None, lambda: True, lambda: None)
    assert begun is not None
    epoch = (await begun.next(1.0) or b"").partition(b"id: ")[2].partition(b"-")[0].decode()
    for last, first in ((f"{epoch}-10", b'"number":10}'), (f"{epoch}-9", b"event: reset")):
        resumed = feed.follow(last, lambda: True, lambda: None)
        assert resumed is not None
        assert first in (await resumed.next(1.0) or b"").split(b"\n\n")[1]
    for _ in range(5):
        feed.publish("change", {"text": "x" * (MOST_KEPT_BYTES // 4)})
    resumed = feed.follow(f"{epoch}-{MOST_KEPT + 10}", lambda: True, lambda: None)
    assert resumed is not None
    assert len(await resumed.next(1.0) or b"") < 1000


async def test_a_follower_gets_what_waits_before_the_end() -> None:
    feed = Feed()
    found = feed.follow(None, lambda: True, lambda: None)
    assert found is not None
    feed.publish("change", {})
    feed.close()
    assert b"event: change" in (await found.next(1.0) or b"")
    assert await found.next(1.0) is None
    assert feed.follow(None, lambda: True, lambda: None) is None
