"""The story of one request, from its head to its one outcome.

    begin -> lease -> (granted) send -> response arrives -> finish
                 \\-> refused / upstream lost / timed out -> retry or fail -> finish

Rules of this file. An exchange ends exactly once, in `finish`, with one status. Its response is started at most once; until
then a failure of the upstream may be retried, after that it can only cut the client's connection, so that what is incomplete
looks incomplete. The snapshot it was decided by is read once; a cutback that comes before it was sent decides it again.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from proxy import errors
from proxy.answering import response_arrived
from proxy.errors import ErrorKind
from proxy.leasing import give_up, lease, served
from proxy.own_answer import answered_here
from proxy.request_head import IDEMPOTENT, examine
from proxy.request_parser import RequestMessage
from proxy.response_parser import ResponseParser
from proxy.retrying import retried, send_again
from proxy.sending import body_arrived, send
from proxy.stats import NO_UPSTREAM
from proxy.upstream import Caller, UpstreamConnection
from routing.addresses import client_of
from routing.decide import Decision, decide, decide_in, limited
from routing.maintenance import Maintenance
from routing.snapshot import RetryOn

if TYPE_CHECKING:
    from proxy.breaker import Breaker
    from proxy.capture import Capture
    from proxy.client import ClientConnection
    from proxy.plane import Plane
    from proxy.pool import Pool

CLIENT_GONE = 499
"""What the log and the metrics call a request whose client left before its answer (nginx's number)."""

NEVER: Final = float("inf")
# Kept connections that close as one request uses them. In line for a fresh one it may get one that another request has just ended
# with, and that closes too.
MOST_STALE = 4


class Exchange(Caller):
    __slots__ = (
        "attempts",
        "body_sent",
        "breaker",
        "bytes_out",
        "capture",
        "client",
        "close_client",
        "connection",
        "counted",
        "decision",
        "ended",
        "error",
        "message",
        "offered",
        "plane",
        "pool",
        "replayable",
        "request_done",
        "response_started",
        "retrying",
        "snapshot",
        "stale",
        "started",
        "status",
        "tried",
        "upstream",
        "waiting",
    )

    def __init__(self, plane: Plane, client: ClientConnection, message: RequestMessage, now: float) -> None:
        self.plane = plane
        self.client = client
        self.message = message
        self.snapshot = plane.snapshot
        self.started = now
        self.decision: Decision | None = None
        self.upstream = NO_UPSTREAM
        self.pool: Pool | None = None
        self.breaker: Breaker | None = None
        """Where it has a place."""
        self.connection: UpstreamConnection | None = None
        self.tried: tuple[Pool, ...] = ()
        self.attempts = 0
        self.stale = 0
        self.waiting = False
        self.retrying = False
        self.replayable = False
        self.request_done = False
        self.response_started = False
        self.close_client = not message.keep_alive
        self.body_sent = 0
        self.bytes_out = 0
        self.status = 0
        self.error: ErrorKind | None = None
        self.ended = False
        self.offered = False
        self.counted = False
        """Whether its first upstream's arm is settled (proxy/arms.py)."""
        self.capture: Capture | None = None

    def __repr__(self) -> str:
        stage = (
            "ended" if self.ended else "waiting" if self.waiting else "answering" if self.response_started else "sent"
        )
        return f"<Exchange {self.message.method!r} {self.message.target!r} {stage} upstream={self.upstream}>"

    @property
    def upstream_name(self) -> str:
        return self.snapshot.upstreams[self.upstream].name

    @property
    def in_resting_line(self) -> bool:
        """Whether the endpoint that we wait for is out of rotation."""
        return self.pool is not None and self.pool.resting

    # Stage: begin

    def begin(self) -> None:
        """Understand the head, decide, and ask for a connection."""
        plane, message = self.plane, self.message
        plane.active.add(self)
        error = ErrorKind.MEMORY if plane.refusing else examine(message, plane.request_table)
        if error is not None:
            self.close_client = True  # the framing of what follows can't be trusted
            self.refuse(error)
            return
        snapshot = self.snapshot
        message.client_ip = client = self.client.peer
        message.certificate = self.client.certificate
        if snapshot.trusted:
            message.client_ip = client_of(client, message.fields.get(b"x-forwarded-for"), snapshot.trusted)
        if snapshot.uses_geo:
            message.place = plane.geo.locate(message.client_ip)
        if answered_here(self):
            return
        if 0 < snapshot.limits.body < max(message.content_length, sum(map(len, message.body))):
            self.close_client = True
            self.refuse(ErrorKind.BODY_TOO_LARGE)
            return
        index = snapshot.table.find(message.method, message.host, message.path)
        if index < 0:
            self.refuse(ErrorKind.NO_ROUTE)
            return
        route = snapshot.routes[index]
        if route.rate_limit is not None:
            wait = plane.rates.ask(route.rate_limit, route.rate_limit.key(message), self.started)
            if wait > 0:
                self.decision = limited(route)
                self.refuse(ErrorKind.RATE_LIMITED, errors.rate_lines(route.rate_limit, wait))
                return
        self.decision = decision = decide_in(route, message, plane.draws)
        self.upstream = decision.upstream
        lease(self)

    # Stage: lease

    def granted(self, connection: UpstreamConnection) -> None:
        """The pool has a connection for us."""
        served(self)
        send(self, connection)

    def refused(self, kind: ErrorKind) -> None:
        """The pool could not connect."""
        served(self)
        self.attempts += 1
        self.upstream_failed(kind, RetryOn.CONNECT)

    def reconsider(self) -> None:
        """The state changed while we stood in line, and by the new one we may not go there: choose again."""
        assert self.waiting
        give_up(self)
        self.snapshot = self.plane.snapshot
        self.tried = ()
        self.decision = decision = decide(self.snapshot, self.message, self.plane.draws)
        if decision is None:
            self.refuse(ErrorKind.NO_ROUTE)
            return
        self.upstream = decision.upstream
        lease(self)

    # Stages: send and answer

    def body_arrived(self) -> None:
        """The client sent more of the request's body, or its end."""
        body_arrived(self)

    def response_arrived(self, response: ResponseParser) -> None:
        """The upstream sent bytes."""
        response_arrived(self, response)

    def hold(self) -> None:
        """The upstream is slower than the client."""
        self.client.pause()

    def let_go(self) -> None:
        self.client.resume()

    # Failure

    def upstream_lost(self) -> None:
        """The upstream's connection ended."""
        connection = self.connection
        if connection is None or self.ended:
            return
        response = connection.response
        response.end()
        if response.complete and response.head_complete:
            self.response_arrived(response)
            return
        stale = connection.used and not response.begun
        self.upstream_failed(ErrorKind.RESET, RetryOn.RESET, stale=stale)

    def upstream_failed(self, kind: ErrorKind, on: RetryOn | None, stale: bool = False) -> None:
        """Try again if that is allowed, else fail. `stale`: a kept connection was closed as we used it, which says nothing of
        the upstream; an idempotent request is then sent again without counting as a retry (RFC 9112 section 9.3.1)."""
        if not stale:
            self.plane.endpoint_failed(self.pool)
        may = not self.response_started and (self.replayable or self.connection is None)
        if may and self.message.method in IDEMPOTENT:
            if stale and self.stale < MOST_STALE:
                self.stale += 1
                self.attempts -= 1
                self.plane.stats.count("stale_connections")
                send_again(self, self.upstream_name, fresh=True)
                return
            if on is not None and retried(self, on):
                return
        self.fail(kind)

    def cut_back(self, to_stable: bool) -> None:
        """A cutback took the traffic of our upstream, and its policy for what was sent already reaches us."""
        if to_stable:
            if not self.response_started and self.replayable and self.message.method in IDEMPOTENT:
                self.tried = ()
                self.counted = True  # in favour of nobody
                send_again(self, None)
        else:
            self.fail(ErrorKind.CUT_BACK)

    def timed_out(self) -> None:
        """The client connection's deadline passed in the middle of this exchange."""
        if self.waiting:
            self.fail(ErrorKind.OVERLOADED)
        elif not self.message.complete and self.client.reading:
            self.fail(ErrorKind.SLOW_BODY if self.client.body_due <= self.plane.now else ErrorKind.REQUEST_TIMEOUT)
        else:
            if not self.response_started:  # after that it may be the client that takes nothing
                self.plane.endpoint_failed(self.pool)
            self.fail(ErrorKind.RESPONSE_TIMEOUT)

    def bad_body(self, kind: ErrorKind) -> None:
        """The rest of the request's body is not what its head promised."""
        self.fail(kind)

    def client_lost(self) -> None:
        """The client's connection ended: nobody waits for the answer, so the upstream is let go at once."""
        if self.ended:
            return
        self.plane.stats.count("client_disconnects")
        if not self.response_started:
            self.status = CLIENT_GONE
        self.finish(reusable=False)

    def tunnel_ended(self) -> None:
        self.finish(reusable=False)

    def fail(self, kind: ErrorKind) -> None:
        """End in an error of our own: an answer if none was begun, else a cut, so that the client sees it is incomplete."""
        if self.response_started:
            self.error = kind
            self.plane.stats.count("gateway_errors", kind.label)
            self.client.abort()
            self.finish(reusable=False)
        else:
            self.refuse(kind)

    def refuse(self, kind: ErrorKind, extra: bytes = errors.RETRY_AFTER, page: Maintenance | None = None) -> None:
        """End in an answer of our own; no response may have been started. `extra`, `page`: see errors.response."""
        self.error = kind
        self.status = kind.status if page is None else page.status
        self.plane.stats.count("gateway_errors", kind.label)
        if not self.message.complete or self.plane.draining or self.plane.ending:
            self.close_client = True  # the rest of the body would be taken for a request
        self.response_started = True
        self.client.write(
            errors.response(
                kind,
                close=self.close_client,
                head_only=self.message.method == b"HEAD",
                request_id=self.message.request_id,
                extra=extra,
                listener=self.client.extra,
                page=page,
            )
        )
        self.finish(reusable=False)

    # Stage: finish

    def drop_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.end(False, 0.0)
        give_up(self)

    def finish(self, reusable: bool) -> None:
        """The one end: place in line or lease given up, counted, logged; the client goes on with its next request."""
        assert not self.ended
        self.ended = True
        plane = self.plane
        if self.waiting or self.breaker is not None:
            give_up(self)
        plane.active.discard(self)
        now = monotonic()
        connection, decision = self.connection, self.decision
        if decision is not None and decision.route.judged:
            plane.arms.ended(self, now - self.started)  # before the connection has its next request
        if connection is not None:
            connection.end(reusable and self.request_done, now)
        if self.retrying:
            plane.retrying -= 1
        if decision is None:
            plane.stats.named("", "").add(self.status, now - self.started)
        else:
            plane.tally(self.snapshot, decision.route, self.upstream).add(self.status, now - self.started)
        if self.capture is not None:
            plane.tap.finish(self.capture, now - self.started)
        log = plane.access_log
        if log is not None:
            log.write(self, now)
        self.client.exchange_ended(self, now)
