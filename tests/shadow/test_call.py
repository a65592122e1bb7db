"""One call to a shadow: whatever comes back, or does not, it ends once, gives back what it held, and says how it went."""

from __future__ import annotations

import pytest

from proxy.pool import Pool
from routing.snapshot import Endpoint
from shadow import call as calls
from shadow.answer import NO_ANSWER
from shadow.call import Budget, Call
from tests.proxy.fakes import snapshot_of
from tests.shadow.fakes import HEAD, OK, UPSTREAMS, Net

ROOM = 1000
MOST = 100


def endpoint() -> Endpoint:
    upstream = snapshot_of(upstreams=UPSTREAMS).upstream_named("next")
    assert upstream is not None
    return upstream.endpoints[0]


class Calls(Net):
    """Calls to one endpoint; `ended` are those that are through, in order."""

    def __init__(self, limit: int = 10) -> None:
        super().__init__()
        self.budget = Budget(ROOM)
        self.pool = Pool(endpoint(), limit, self.dial)
        self.ended: list[Call] = []

    def begin(self, *, method: bytes = b"GET") -> Call:
        call = Call(HEAD, method, MOST, 10.0, self.budget, self.ended.append)
        call.start(self.pool, 0.0)
        self.settle()
        return call

    def answered(self, *parts: bytes) -> Call:
        """A call whose answer comes in these parts."""
        call = self.begin()
        self.origins[-1].send(*parts)
        return call

    @property
    def outcomes(self) -> list[str]:
        return [call.outcome for call in self.ended]


def test_answer_is_what_the_shadow_sent_without_framing() -> None:
    scene = Calls()
    call = scene.answered(
        b"HTTP/1.1 203 Fine\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"
    )
    assert scene.origins[0].received() == HEAD
    assert scene.outcomes == [calls.OK]
    assert call.answer is not None
    assert (call.answer.status, call.answer.lines, call.answer.body) == (203, [b"X-A: b"], b"abc")


@pytest.mark.parametrize(
    "answer",
    [OK, b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK],
)
def test_answer_is_the_same_however_it_is_split(answer: bytes) -> None:
    whole, pieces = Calls().answered(answer), Calls().answered(*[answer[at : at + 1] for at in range(len(answer))])
    for call in (whole, pieces):
        assert call.outcome == calls.OK
        assert call.answer is not None
    assert repr(whole.answer) == repr(pieces.answer)


def test_answer_to_head_has_no_body() -> None:
    scene = Calls()
    call = scene.begin(method=b"HEAD")
    scene.origins[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    assert call.outcome == calls.OK


def test_answer_that_ends_with_the_connection_is_whole_if_it_ends_in_order() -> None:
    for reset, outcome in ((False, calls.OK), (True, calls.RESET)):
        scene = Calls()
        call = scene.answered(b"HTTP/1.1 200 OK\r\n\r\nab")
        end = scene.origins[0]
        end.reset() if reset else end.finish()
        assert call.outcome == outcome


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ((b"\x00\xff\x80 what\r\n\r\n",), calls.BAD_RESPONSE),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",), calls.BAD_RESPONSE),
        ((b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",), calls.BAD_RESPONSE),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000,), calls.BAD_RESPONSE),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", b"x" * 50, b"x" * 51), calls.TOO_LARGE),
    ],
)
def test_answer_that_is_none_ends_the_call_and_its_connection(parts: tuple[bytes, ...], outcome: str) -> None:
    scene = Calls()
    call = scene.answered(*parts)
    assert scene.outcomes == [outcome]
    assert call.answer is not None
    assert (call.answer.status, call.answer.failure) == (NO_ANSWER, outcome)
    assert scene.origins[0].closed
    assert scene.pool.load == 0


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_connection_that_is_lost_is_a_reset(sent: bytes) -> None:
    scene = Calls()
    call = scene.answered(sent)
    scene.origins[0].reset()
    assert scene.outcomes == [calls.RESET]
    assert call.answer is not None
    assert scene.pool.load == 0


def test_connection_is_kept_for_the_next_call() -> None:
    scene = Calls()
    for _ in range(3):
        scene.answered(OK)
    assert scene.outcomes == [calls.OK] * 3
    assert len(scene.origins) == 1


def test_kept_connection_that_closes_as_it_is_used_says_nothing_of_the_shadow() -> None:
    scene = Calls()
    scene.answered(OK)
    call = scene.begin()
    scene.origins[0].reset()
    assert scene.origins[1].received() == HEAD
    scene.origins[1].send(OK)
    assert call.outcome == calls.OK


def test_write_is_not_sent_twice_over_a_kept_connection_that_closed() -> None:
    scene = Calls()
    scene.answered(OK)
    call = scene.begin(method=b"POST")
    scene.origins[0].reset()
    assert len(scene.origins) == 1
    assert call.outcome == calls.CONNECT
    assert call.answer is None


def test_kept_connections_may_close_one_after_another() -> None:
    """One that waits for a fresh connection may be given one that another call has just ended with."""
    scene = Calls(limit=2)
    first, second = scene.begin(), scene.begin()
    scene.origins[0].send(OK)
    third = scene.begin()
    scene.hold = True
    scene.origins[0].reset()  # the third's, who stands in line now
    scene.origins[1].send(OK)  # the second's, handed to the third
    scene.origins[1].reset()
    while scene.dials:
        scene.connect()
        scene.settle()
    scene.origins[-1].send(OK)
    assert [first.outcome, second.outcome, third.outcome] == [calls.OK] * 3


def test_refused_connection_leaves_nothing_to_compare() -> None:
    scene = Calls()
    scene.refusing.add(scene.pool.endpoint.url)
    call = scene.begin()
    assert (call.outcome, call.answer) == (calls.CONNECT, None)


def test_line_that_is_too_long_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Calls(limit=1)
    monkeypatch.setattr("proxy.pool.MAX_WAITING", 1)
    scene.begin()
    scene.begin()
    assert scene.begin().outcome == calls.QUEUE_FULL


def test_call_past_its_deadline_leaves_the_line_or_closes_its_connection() -> None:
    scene = Calls(limit=1)
    served, waiting = scene.begin(), scene.begin()
    for call in (waiting, served):
        call.time_out()
        assert (call.outcome, call.answer) == (calls.TIMEOUT, None)
    scene.settle()
    assert scene.origins[0].closed
    assert scene.pool.load == 0


def test_body_under_way_counts_towards_the_budget_until_it_is_given_back() -> None:
    scene = Calls()
    call = scene.answered(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n", b"x" * 60)
    assert call.size == 60
    assert not scene.budget.take(ROOM - 59)
    scene.origins[0].send(b"x" * 30)
    assert call.outcome == calls.OK
    scene.budget.give_back(call.size)
    assert scene.budget.take(ROOM)


def test_without_budget_the_answer_is_given_up() -> None:
    scene = Calls()
    assert scene.budget.take(ROOM - 1)
    call = scene.answered(OK)
    assert (call.outcome, call.answer) == (calls.QUEUE_FULL, None)
