"""What shadow and control get, byte by byte, when they get it, and which requests they get at all."""

from __future__ import annotations

import re
import signal
import threading
from collections import Counter
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.origin import Arrival, Conversation, Origin, Script
from tests.support.shadows import Shadowed, accounted, numbers
from tests.support.stage import Stage
from tests.support.wire import PATIENCE, Response, request

EVERYTHING = {"upstream": "next", "percent": 100, "noise_sample": "0%"}
LINES = (
    b"hOsT: Shop.Example:81\r\nX-Z: last\r\naUtHoRiZation: Bearer x\r\nx-a:  two  words\r\nCookie: a=b; c=d\r\n"
    b"X-Empty:\r\nX-Z: again\r\nX-Latin: caf\xe9\r\nx-request-id: 77\r\n"
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
)
BIG = bytes(range(256)) * 800  # 204,800 bytes, of every value


class Recorder:
    """An upstream that keeps the bytes of each head, and the body."""

    def __init__(self, stage: Stage) -> None:
        self._changed = threading.Condition()
        self._requests: list[tuple[bytes, bytes]] = []
        self.origin = stage.origin(self._script)

    def _script(self, connection: Conversation) -> None:
        while True:
            raw = connection.until(b"\r\n\r\n")
            fields = dict(re.findall(rb"\r\n([\w-]+): *([^\r]*)", raw.lower()))
            if fields.get(b"transfer-encoding") == b"chunked":
                body, _ = connection.chunks()
            else:
                body = connection.exactly(int(fields.get(b"content-length", 0)))
            with self._changed:
                self._requests.append((raw, body))
                self._changed.notify_all()
            connection.answer(b"" if raw.startswith(b"HEAD") else b"ok", X_Long="x")

    def take(self) -> tuple[bytes, bytes]:
        """The oldest request that was not taken yet."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._requests, PATIENCE), "nothing arrived"
            return self._requests.pop(0)

    @property
    def empty(self) -> bool:
        return not self._requests


class Legs:
    """A gateway whose primary sees another Host than the client sends, and its three upstreams."""

    def __init__(self, stage: Stage) -> None:
        self.primary, self.shadow, self.control = (Recorder(stage) for _ in range(3))
        upstreams = {
            "blue": {"endpoints": [self.primary.origin.url], "host": "upstream"},
            "next": self.shadow.origin.url,
            "same": self.control.origin.url,
        }
        shadow = {**EVERYTHING, "control": "same", "methods": ["GET", "HEAD", "POST"]}
        self.shadowed = Shadowed(stage, upstreams, {"shop": shadow})

    def exchange(self, *parts: bytes) -> tuple[bytes, bytes]:
        """The primary's request, once shadow and control have got the copy of it."""
        with self.shadowed.gateway.connect() as client:
            for part in parts:
                client.send(part)
            assert client.response(head_request=parts[0].startswith(b"HEAD")).status == 200
        head, body = self.primary.take()
        copy = copy_of(head, b"Shop.Example:81"), body
        assert (self.shadow.take(), self.control.take()) == (copy, copy)
        return head, body


def copy_of(head: bytes, host: bytes) -> bytes:
    """By its rules: Host as the client sent it, without credentials, marked, and all else as it was."""
    head = re.sub(rb"\r\nHost: [^\r]*", b"\r\nHost: " + host, head)
    head = re.sub(rb"(?i)\r\n(authorization|cookie):[^\r]*", b"", head)
    head = re.sub(rb"(?i)\r\n(idempotency-key:) *", rb"\r\n\1 shadow-", head)
    return head[:-2] + b"X-Headgate-Shadow: 1\r\n\r\n"


@pytest.fixture(scope="module")
def legs(shared: Stage) -> Legs:
    return Legs(shared)


@pytest.mark.parametrize(
    "target", ["/", "/a%2Fb/../c?q=%20&q=+&empty", "/caf%C3%A9?x=http://y/?z", "//double;p=1", "/" + "x" * 3000]
)
def test_copy_is_the_primarys_request_line_by_line(legs: Legs, target: str) -> None:
    head, _ = legs.exchange(b"GET %b HTTP/1.1\r\n%b\r\n" % (target.encode(), LINES))
    assert head.startswith(b"GET %b HTTP/1.1\r\nHost: 127.0.0.1:" % target.encode())
    sent, got = (re.findall(rb"(?m)^([\w-]+):", lines) for lines in (LINES, head))
    assert got[: len(sent)] == [b"Host", *sent[1:]]


def test_copy_of_head_is_one(legs: Legs) -> None:
    head, _ = legs.exchange(b"HEAD / HTTP/1.1\r\n%b\r\n" % LINES)
    assert head.startswith(b"HEAD / ")


@pytest.mark.parametrize("body", [b"", b"abc", BIG])
def test_copy_has_the_same_body(legs: Legs, body: bytes) -> None:
    lines = LINES + b"Idempotency-Key: order-1\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert legs.exchange(b"POST / HTTP/1.1\r\n" + lines + body)[1] == body


def test_body_in_chunks_and_pieces_is_copied_whole(legs: Legs) -> None:
    lines = LINES + b"Transfer-Encoding: chunked\r\n\r\n"
    pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (BIG[:10], BIG[10:100_000], BIG[100_000:])]
    head, body = legs.exchange(b"POST / HTTP/1.1\r\n" + lines, *pieces, b"0\r\n\r\n")
    assert body == BIG
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head


def test_request_id_and_trace_are_the_same_for_all(legs: Legs) -> None:
    """Where the client sends none they are made, once."""
    head, _ = legs.exchange(b"GET / HTTP/1.1\r\nHost: Shop.Example:81\r\n\r\n")
    assert len(re.findall(rb"\r\nX-Request-Id: [^\r]+", head)) == 1
    assert len(re.findall(rb"\r\ntraceparent: 00-[0-9a-f-]+", head)) == 1


# Which requests

ROUTES: dict[str, Any] = {
    "reasons": {**EVERYTHING, "max_body": 1000},
    "writes": {**EVERYTHING, "methods": ["POST"], "max_body": 1000},
    "half": {**EVERYTHING, "percent": 50, "control": "same"},
    "people": {**EVERYTHING, "percent": 50, "by": "client"},
    "live": {**EVERYTHING, "percent": 0},
    "held": {**EVERYTHING, "upstream": "held-next", "control": "held-same"},
    "hanging": {**EVERYTHING, "upstream": "hanging-next"},
}


def hangs(connection: Conversation) -> None:
    connection.receive_head()
    connection.wait_closed()


def once(*, sets: threading.Event | None = None, all_of: tuple[threading.Event, ...] = ()) -> Script:
    """Answers one request, which it announces, once all of those events have come."""

    def script(connection: Conversation) -> None:
        connection.receive()
        if sets is not None:
            sets.set()
        assert all(event.wait(PATIENCE) for event in all_of)
        connection.answer(b"late")

    return script


class Upstreams:
    def __init__(self, stage: Stage) -> None:
        self.blue, self.next, self.same = stage.origin(numbers), stage.origin(numbers), stage.origin(numbers)
        self.hanging = stage.origin(hangs)
        legs = self.next_leg, self.control_leg = stage.event(), stage.event()
        urls = {
            "blue": self.blue.url,
            "next": self.next.url,
            "same": self.same.url,
            "hanging-next": self.hanging.url,
            "held": stage.origin(once(all_of=legs)).url,
            "held-next": stage.origin(once(sets=self.next_leg)).url,
            "held-same": stage.origin(once(sets=self.control_leg)).url,
        }
        self.shadowed = Shadowed(stage, urls, ROUTES, trusted_proxies=["127.0.0.0/8"])

    def of(self, origin: Origin, route: str) -> list[Arrival]:
        return [arrival for arrival in origin.arrivals if arrival.get("host") == f"{route}.example"]

    @property
    def gateway(self) -> Gateway:
        return self.shadowed.gateway


@pytest.fixture(scope="module")
def upstreams(shared: Stage) -> Upstreams:
    return Upstreams(shared)


def send(gateway: Gateway, data: bytes) -> Response:
    with gateway.connect() as client:
        client.send(data)
        return client.response()


def to(route: str, **fields: str) -> dict[str, str]:
    return {"Host": f"{route}.example", **fields}


def test_copies_are_sent_while_the_primary_answers(upstreams: Upstreams) -> None:
    """It does so once both copies have come."""
    assert upstreams.shadowed.ask(route="held") == (200, b"late")
    assert upstreams.shadowed.counted(1, "held")["matched"] == 1


def test_what_is_not_copied_is_counted_by_its_reason(upstreams: Upstreams) -> None:
    fields = to("reasons")
    for data in (
        request("/n/1", method="POST", fields=fields, body=b"order"),
        request("/n/2", method="DELETE", fields=fields),
        request("/n/3", fields={**fields, "X-Headgate-Shadow": "1"}),
        request("/n/4", fields={**fields, "Connection": "Upgrade", "Upgrade": "websocket"}),
        request("/n/6", fields=fields, body=b"x" * 1001),
        request("/n/31", fields=fields),  # whose answer is too large
        request("/n/7", fields=fields),
    ):
        send(upstreams.gateway, data)
    diffs = upstreams.shadowed.counted(7, "reasons")
    assert diffs["dropped"] == {"unsafe_method": 2, "shadowed": 1, "upgrade": 1, "body_too_large": 2}
    assert diffs["matched"] == 1
    assert {arrival.target for arrival in upstreams.of(upstreams.next, "reasons")} == {"/n/7", "/n/31"}
    assert upstreams.shadowed.metrics("headgate_shadow_dropped_total", "reasons") == diffs["dropped"]
    assert upstreams.shadowed.metrics("headgate_shadow_copied_total", "reasons") == {"": 2}


def test_writes_are_copied_where_the_route_says_so(upstreams: Upstreams) -> None:
    send(upstreams.gateway, request("/n/1", method="POST", fields=to("writes"), body=b"order"))
    send(upstreams.gateway, request("/n/2", fields=to("writes")))
    diffs = upstreams.shadowed.counted(2, "writes")
    assert (diffs["matched"], diffs["dropped"]) == (1, {"unsafe_method": 1})
    [copy] = upstreams.of(upstreams.next, "writes")
    assert (copy.method, copy.body) == ("POST", b"order")


def test_shadow_and_control_get_the_same_sample(upstreams: Upstreams) -> None:
    with upstreams.gateway.connect() as client:
        for number in range(1, 101):
            client.send(request(f"/n/{number}", fields=to("half")))
            client.response()
    copied = upstreams.shadowed.copied("half")
    upstreams.shadowed.counted(copied, "half")
    targets = [
        sorted(arrival.target for arrival in upstreams.of(origin, "half"))
        for origin in (upstreams.next, upstreams.same)
    ]
    assert targets[0] == targets[1]
    assert len(targets[0]) == copied
    assert 20 < copied < 80  # 50, standard deviation 5


def test_sample_by_client_is_the_same_clients_over_all_connections(upstreams: Upstreams) -> None:
    rounds = 3
    for _ in range(rounds):
        for client in range(60):
            fields = {**to("people"), "X-Forwarded-For": f"198.51.100.{client}"}
            assert send(upstreams.gateway, request(f"/n/{client + 1}", fields=fields)).get("x-number")
    copied = upstreams.shadowed.copied("people")
    upstreams.shadowed.counted(copied, "people")
    times = Counter(arrival.target for arrival in upstreams.of(upstreams.next, "people"))
    assert set(times.values()) == {rounds}
    assert 10 < len(times) < 50


def test_percent_holds_by_the_time_its_change_is_answered_and_survives_kill_9(upstreams: Upstreams) -> None:
    sent = 0

    def ask(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            sent += 1
            upstreams.shadowed.ask(f"/n/{sent}", "live")

    ask(20)
    for expected in (20, 40):
        upstreams.shadowed.set("live", percent=100)
        ask(20)
        upstreams.shadowed.set("live", percent=0)
        ask(20)
        assert upstreams.shadowed.counted(expected, "live")["matched"] == expected
    upstreams.shadowed.set("live", percent=100)
    upstreams.gateway.kill()
    upstreams.shadowed.start()
    before = len(upstreams.of(upstreams.next, "live"))
    ask(20)
    upstreams.gateway.until(lambda: len(upstreams.of(upstreams.next, "live")) == before + 20, "all are copied")


def test_shadow_that_leads_back_to_the_gateway_makes_one_copy(stage: Stage) -> None:
    blue = stage.origin(numbers)
    shadowed = Shadowed(stage, {"blue": blue.url, "next": "http://127.0.0.1:1"}, {"shop": {**EVERYTHING, "percent": 0}})
    settings = shadowed.settings
    settings["upstreams"]["next"]["endpoints"] = [shadowed.gateway.url]
    shadowed.gateway.write(settings)
    revision = shadowed.gateway.status()["revision"]
    shadowed.gateway.signal(signal.SIGHUP)
    shadowed.gateway.until(lambda: shadowed.gateway.status()["revision"] > revision, "the new file is in force")
    shadowed.set(percent=100)
    for number in range(1, 21):
        shadowed.ask(f"/n/{number}")
    diffs = shadowed.counted(40)
    assert diffs["dropped"] == {"shadowed": 20}
    assert diffs["matched"] == 20
    assert len(blue.arrivals) == 40


# How many


def test_shadow_that_hangs_has_no_more_copies_than_the_window(upstreams: Upstreams) -> None:
    for number in range(1, 201):
        upstreams.shadowed.ask(f"/n/{number}", "hanging")
    upstreams.gateway.until(lambda: accounted(upstreams.shadowed.diffs("hanging")) == 200 - 32, "the rest is dropped")
    assert upstreams.shadowed.diffs("hanging")["dropped"] == {"queue_full": 200 - 32}
    assert len(upstreams.hanging.arrivals) == 32
