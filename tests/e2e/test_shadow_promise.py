"""The shadow promise: whatever a shadow does, no client sees another status, body or order, and its trouble is counted.

One gateway with a route for each kind of shadow. Every answer that a client gets is compared with what the primary sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.origin import Conversation
from tests.support.shadows import Clients, Shadowed, numbered_answer, numbers
from tests.support.stage import Stage

METHODS = ["GET", "POST"]
REQUESTS = 400


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
        for at in range(200):
            connection.send(answer[at : at + 1])
        connection.send(answer[200:])


def answers_and_closes(connection: Conversation) -> None:
    """Without having said so: the next request may be on its way."""
    connection.send(numbered_answer(connection.receive()))


@dataclass
class Hostile:
    """`outcomes` are all that its calls come to, `drops` why copies are dropped, among other reasons; `compared` says whether pairs
    are compared."""

    script: object
    outcomes: set[str]
    drops: set[str]
    compared: bool = False


KINDS = {
    "hangs": Hostile(hangs, {"timeout"}, {"timeout", "backoff"}),
    "refuses": Hostile(None, {"connect"}, {"connect", "backoff"}),
    "closes-at-once": Hostile(closes_at_once, {"connect", "reset"}, {"backoff"}, compared=True),
    "resets-mid-body": Hostile(resets_mid_body, {"reset"}, {"backoff"}, compared=True),
    "floods": Hostile(floods, {"too_large"}, set(), compared=True),
    "garbage": Hostile(answers_garbage, {"bad_response"}, {"backoff"}, compared=True),
    "byte-by-byte": Hostile(answers_byte_by_byte, {"ok"}, set(), compared=True),
    "answers-and-closes": Hostile(answers_and_closes, {"ok"}, set(), compared=True),
}


@pytest.fixture(scope="module")
def shadowed(shared: Stage) -> Shadowed:
    upstreams = {"blue": shared.origin(numbers).url}
    for name, kind in KINDS.items():
        upstreams[name] = (shared.refusing() if kind.script is None else shared.origin(kind.script)).url  # type: ignore[arg-type]
    shadow = {"percent": 100, "methods": METHODS, "timeout": "300ms"}
    return Shadowed(shared, upstreams, {name: {"upstream": name, **shadow} for name in KINDS})


@pytest.mark.parametrize("name", KINDS)
def test_no_client_sees_what_the_shadow_does(shadowed: Shadowed, name: str) -> None:
    kind = KINDS[name]
    with Clients(shadowed.gateway, f"{name}.example") as clients:
        clients.wait(REQUESTS)
        shadowed.gateway.until(lambda: shadowed.diffs(name)["dropped"].keys() >= kind.drops, "its trouble shows")
    assert clients.different == []
    diffs = shadowed.counted(clients.sent, name)
    assert set() < diffs["outcomes"].keys() <= kind.outcomes
    assert diffs["dropped"].keys() >= kind.drops
    assert (diffs["compared"] > 0) is kind.compared
    assert shadowed.metrics("headgate_shadow_requests_total", name) == diffs["outcomes"]
    assert shadowed.metrics("headgate_shadow_dropped_total", name) == diffs["dropped"]
