"""One copied request to one upstream: leases a connection, sends, collects the answer, and ends exactly once."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from proxy.errors import ErrorKind
from proxy.pool import Pool
from proxy.request_head import IDEMPOTENT
from proxy.response_parser import ResponseParser
from proxy.upstream import Caller, UpstreamConnection
from shadow.answer import NO_ANSWER, Answer

OK, TIMEOUT, CONNECT, RESET, BAD_RESPONSE, TOO_LARGE, QUEUE_FULL = (
    "ok",
    "timeout",
    "connect",
    "reset",
    "bad_response",
    "too_large",
    "queue_full",
)
"""Outcomes of a call."""


class Budget:
    """Bytes that all pairs and calls may hold together."""

    __slots__ = ("_left",)

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, size: int) -> bool:
        """False where there is no room for it; nothing is taken then."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size


class Call(Caller):
    """`done` is called once with the call, whose `outcome` and `answer` are then set. There is an answer for OK; for RESET,
    BAD_RESPONSE and TOO_LARGE there is one that says so; else None: nothing is known of what the upstream would say."""

    __slots__ = (
        "_body",
        "_budget",
        "_connection",
        "_done",
        "_head_request",
        "_most",
        "_pool",
        "_repeatable",
        "_request",
        "_started",
        "answer",
        "deadline",
        "outcome",
        "size",
    )

    def __init__(
        self,
        request: bytes,
        method: bytes,
        most: int,
        deadline: float,
        budget: Budget,
        done: Callable[[Call], None],
    ) -> None:
        """`request` is head and body; `most` bounds the answer's body, in bytes; `deadline` is monotonic. What of the answer is
        held is taken from `budget`: `size` is to be given back to it."""
        self._budget = budget
        self._request = request
        self._head_request = method == b"HEAD"
        self._repeatable = method in IDEMPOTENT
        self._most = most
        self._done: Callable[[Call], None] | None = done
        self._started = 0.0
        self._pool: Pool | None = None
        self._connection: UpstreamConnection | None = None
        self._body: list[bytes] = []
        self.size = 0
        self.deadline = deadline
        self.outcome = ""
        self.answer: Answer | None = None

    def start(self, pool: Pool, now: float) -> None:
        self._pool = pool
        self._started = now
        connection = pool.take()
        if connection is not None:
            self.granted(connection)
        elif not pool.wait(self):
            self._finish(QUEUE_FULL)

    # For the pool

    def granted(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(self, self._request, self._head_request)

    def refused(self, kind: ErrorKind) -> None:
        self._finish(CONNECT)

    # For the connection

    def response_arrived(self, response: ResponseParser) -> None:
        if response.error or response.status == 101:
            self._finish(BAD_RESPONSE)
            return
        response.interim = []
        if not response.head_complete:
            return
        body = response.body
        if body:
            response.body = []
            size = sum(map(len, body))
            if self.size + size > self._most:
                self._finish(TOO_LARGE)
                return
            if not self._budget.take(size):
                self._finish(QUEUE_FULL)
                return
            self.size += size
            self._body += body
        if response.complete:
            seconds = monotonic() - self._started
            self.answer = Answer(response.status, response.lines, b"".join(self._body), seconds)
            self._finish(OK, response.reusable)

    def upstream_lost(self) -> None:
        connection = self._connection
        if connection is None or self.outcome:
            return
        response = connection.response
        response.end()
        if response.complete and response.head_complete:
            self.response_arrived(response)
        elif connection.used and not response.begun:
            if self._repeatable:
                self._again()
            else:
                self._finish(CONNECT)  # it may have been taken, so it must not be sent twice (RFC 9110 section 9.2.2)
        else:
            self._finish(RESET)

    def hold(self) -> None:
        """The whole request was given to the transport, and it is bounded."""

    def let_go(self) -> None:
        pass

    # The end

    def time_out(self) -> None:
        self._finish(TIMEOUT)

    def _again(self) -> None:
        """A kept connection was closed as we used it, which says nothing of the shadow: again, over a fresh one or one that
        another call has just ended with. There are only so many of those, and there is the deadline."""
        self._release(False)
        assert self._pool is not None
        if not self._pool.wait(self):
            self._finish(QUEUE_FULL)

    def _release(self, reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end(reusable, monotonic())

    def _finish(self, outcome: str, reusable: bool = False) -> None:
        assert not self.outcome
        self.outcome = outcome
        if self._connection is not None:
            self._release(reusable)
        elif outcome == TIMEOUT and self._pool is not None:
            self._pool.leave(self)
        if outcome in (RESET, BAD_RESPONSE, TOO_LARGE):
            self.answer = Answer(NO_ANSWER, [], b"", monotonic() - self._started, outcome)
        self._body = []
        done, self._done = self._done, None  # it leads to who holds us: no cycle may be left for the collector
        assert done is not None
        done(self)
