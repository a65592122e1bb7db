"""The shadow promise: whatever a shadow does, no client sees another status, body or order, and its trouble is counted.

One gateway with a route for each kind of shadow. Every answer that a client gets is compared with what the primary sent.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.origin import Conversation, Script
from tests.support.shadows import Clients, Shadowed, numbered_answer, numbers
from tests.support.stage import Stage

REQUESTS = 200


def hangs(connection: Conversation) -> None:
    connection.receive_head()
    connection.wait_closed()


def closes_at_once(connection: Conversation) -> None:
    connection.close()


def resets_mid_body(connection: Conversation) -> None:
    connection.receive()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    connection.reset()


def floods(connection: Conversation) -> None:
    while True:
        connection.receive()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(10):
            connection.send(b"x" * 1_000_000)


def answers_garbage(connection: Conversation) -> None:
    while True:
        connection.receive()
        connection.send(b"\x00\xff HTTP/9 lorem\r\n\r\n\x80" * 5)


def answers_byte_by_byte(connection: Conversation) -> None:
    while True:
        answer = numbered_answer(connection.receive())
        for at in range(100):
            connection.send(answer[at : at + 1])
        connection.send(answer[100:])


def answers_and_closes(connection: Conversation) -> None:
    """Without having said so: the next request may be on its way."""
    connection.send(numbered_answer(connection.receive()))


@dataclass
class Hostile:
    """`outcomes` are all that its calls come to, `drops` why copies are dropped, among other reasons; `compared` says whether pairs
    are compared: None where that depends on how far a call comes before its connection ends."""

    script: Script | None
    outcomes: set[str]
    drops: set[str]
    compared: bool | None = False


KINDS = {
    "hangs": Hostile(hangs, {"timeout"}, {"timeout", "backoff"}),
    "refuses": Hostile(None, {"connect"}, {"connect", "backoff"}),
    "closes-at-once": Hostile(closes_at_once, {"connect", "reset"}, {"backoff"}, compared=None),
    "resets-mid-body": Hostile(resets_mid_body, {"reset"}, {"backoff"}, compared=True),
    "floods": Hostile(floods, {"too_large"}, set(), compared=True),
    "garbage": Hostile(answers_garbage, {"bad_response"}, {"backoff"}, compared=True),
    "byte-by-byte": Hostile(answers_byte_by_byte, {"ok"}, set(), compared=True),
    "answers-and-closes": Hostile(
        answers_and_closes, {"ok", "connect"}, set(), compared=True
    ),  # no write is sent twice
}


class Promise:
    """All of them at once, each with clients of its own, until the trouble of each shows."""

    def __init__(self, stage: Stage) -> None:
        upstreams = {"blue": stage.origin(numbers).url}
        routes: dict[str, Any] = {}
        for name, kind in KINDS.items():
            own = f"{name}-next"
            upstreams[own] = (stage.refusing() if kind.script is None else stage.origin(kind.script)).url
            timeout = "300ms" if kind.script is hangs else "30s"
            routes[name] = {"upstream": own, "percent": 100, "methods": ["GET", "POST"], "timeout": timeout}
        self.shadowed = Shadowed(stage, upstreams, routes, timeouts={"connect": "30s"})  # the accept queues overflow
        self.clients = {name: Clients(self.shadowed.gateway, f"{name}.example", 3) for name in KINDS}
        with ExitStack() as running:
            for clients in self.clients.values():
                running.enter_context(clients)
            for clients in self.clients.values():
                clients.wait(REQUESTS)
            self.shadowed.gateway.until(self._shows, "the trouble of each shows")

    def _shows(self) -> bool:
        return all(self.shadowed.diffs(name)["dropped"].keys() >= kind.drops for name, kind in KINDS.items())


@pytest.fixture(scope="module")
def promise(shared: Stage) -> Promise:
    return Promise(shared)


@pytest.mark.parametrize("name", KINDS)
def test_no_client_sees_what_the_shadow_does(promise: Promise, name: str) -> None:
    assert promise.clients[name].different == []


@pytest.mark.parametrize("name", KINDS)
def test_trouble_of_the_shadow_is_counted_by_what_it_is(promise: Promise, name: str) -> None:
    kind, shadowed = KINDS[name], promise.shadowed
    diffs = shadowed.counted(promise.clients[name].sent, name)
    assert set() < diffs["outcomes"].keys() <= kind.outcomes
    assert diffs["dropped"].keys() >= kind.drops
    compared = "reset" in diffs["outcomes"] if kind.compared is None else kind.compared
    assert (diffs["compared"] > 0) is compared
    assert shadowed.metrics("headgate_shadow_requests_total", name) == diffs["outcomes"]
    assert shadowed.metrics("headgate_shadow_dropped_total", name) == diffs["dropped"]
