"""The tap: copies of requests and of the primary's answers for the shadow process.

Rules of this file. Offering never waits and never raises, and nothing here keeps the primary from anything. A capture is begun
only within credits that the shadow process gave (a shadow that hangs gives none, so it costs its requests nothing), every
buffer has a bound, and what is not copied is counted by its reason. Only references to immutable bytes are kept. What
becomes of a copy is unknown here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.capture_frames import Drop, answer_frame, gone_frame, request_frame
from proxy.stats import WorkerStats
from routing.decide import in_sample
from routing.shadowing import SAFE_METHODS

if TYPE_CHECKING:
    from proxy.exchange import Exchange
    from proxy.response_parser import ResponseParser

# Bytes of bodies held for captures under way, a worker.
MAX_HELD = 16 * 1024 * 1024
# Bytes that the shadow process has not taken from the socket yet.
MAX_UNSENT = 4 * 1024 * 1024
FLUSH_SECONDS = 0.001
FLUSH_BYTES = 256 * 1024


class Room:
    """How many more captures of a route the shadow process takes, and whether it is backing off from the shadow."""

    __slots__ = ("backed_off", "credits")

    def __init__(self) -> None:
        self.credits = 0
        self.backed_off = False


class Capture:
    """One exchange's copy. `session` tells the connection it was begun over from later ones."""

    __slots__ = ("answer_complete", "body", "compared", "held", "lines", "number", "open", "route", "session", "status")

    def __init__(self, number: int, session: int, route: str, compared: bool) -> None:
        self.number = number
        self.session = session
        self.route = route
        self.compared = compared
        self.open = False
        """Whether its request is out: the shadow process then waits for an end."""
        self.status = 0
        self.lines: list[bytes] = []
        self.body: list[bytes] = []
        """Of the request until that is out, then of the answer."""
        self.held = 0
        self.answer_complete = False


class Outbox:
    """Frames on their way to the shadow process, written together: one by one they cost the worker more than their making.
    `later` calls what it is given after FLUSH_SECONDS."""

    __slots__ = ("_frames", "_later", "_size", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, later: Callable[[Callable[[], None]], object]) -> None:
        self._transport = transport
        self._later = later
        self._frames: list[bytes] = []
        self._size = 0

    def write(self, frame: bytes) -> None:
        if not self._frames:
            self._later(self.flush)
        self._frames.append(frame)
        self._size += len(frame)
        if self._size > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._frames:
            self._transport.write(b"".join(self._frames))
            self._frames = []
            self._size = 0

    def forget(self) -> None:
        """The connection is gone, and uvloop raises where something is written to it: what `later` calls finds nothing."""
        self._frames = []

    @property
    def unsent(self) -> int:
        """Bytes that the shadow process has not taken yet."""
        return self._size + self._transport.get_write_buffer_size()


class Tap:
    """All captures of one worker. `opened`, `credited` and `lost` come from the connection to the shadow process."""

    __slots__ = ("_next", "_outbox", "_rooms", "_session", "_stats", "_under_way", "held", "shedding")

    def __init__(self, stats: WorkerStats) -> None:
        self._stats = stats
        self._outbox: Outbox | None = None
        self._session = 0
        self._next = 0
        self.held = 0
        """Bytes of bodies of captures under way."""
        self.shedding = False
        """Whether the worker is so short of memory that nothing is copied."""
        self._rooms: dict[str, Room] = {}
        self._under_way: dict[str, int] = {}
        """route -> captures of which the shadow process has not reported what became."""

    # The connection

    def opened(self, outbox: Outbox) -> None:
        self._session += 1
        self._outbox = outbox

    def credited(self, route: str, credits: int, backed_off: bool) -> None:
        """`credits` may be negative: the window became smaller."""
        room = self._rooms.get(route)
        if room is None:
            room = self._rooms[route] = Room()
        room.credits += credits
        room.backed_off = backed_off

    def through(self, route: str, count: int) -> None:
        """The shadow process has reported what became of so many captures."""
        self._under_way[route] = self._under_way.get(route, 0) - count

    def lost(self) -> None:
        """The shadow process is gone, and with it what it had in hand or had found since its last report."""
        if self._outbox is not None:
            self._outbox.forget()
        self._outbox = None
        self._session += 1
        self._rooms = {}
        for route, count in self._under_way.items():
            if count > 0:
                self._stats.not_copied(route, Drop.SHADOW_DOWN.value, count)
        self._under_way = {}

    def flush(self) -> None:
        """Nothing more will follow: what waits for more goes out."""
        if self._outbox is not None:
            self._outbox.flush()

    # One exchange

    def offer(self, exchange: Exchange, head: bytes) -> Capture | None:
        """Begin a capture of a request on its way to the primary, if it is in the sample and may be copied. `head` is the
        one sent."""
        decision, message = exchange.decision, exchange.message
        assert decision is not None
        route = decision.route
        shadow = route.shadow
        if shadow is None or not in_sample(shadow, decision, message, exchange.plane.draws):
            return None
        room = self._rooms.get(route.name)
        outbox = self._outbox
        drop: Drop | None = None
        if message.method not in shadow.methods:
            drop = Drop.UNSAFE_METHOD
        elif message.method not in SAFE_METHODS and exchange.upstream_name in (shadow.upstream, shadow.control):
            drop = Drop.UNSAFE_METHOD  # it would be done there twice
        elif message.upgrade:
            drop = Drop.UPGRADE
        elif b"x-headgate-shadow" in message.fields:
            drop = Drop.SHADOWED
        elif message.content_length > shadow.max_body:
            drop = Drop.BODY_TOO_LARGE
        elif self.shedding:
            drop = Drop.MEMORY
        elif outbox is None or room is None:
            drop = Drop.SHADOW_DOWN
        elif room.credits <= 0:
            drop = Drop.BACKOFF if room.backed_off else Drop.QUEUE_FULL
        elif self.held > MAX_HELD or outbox.unsent > MAX_UNSENT:
            drop = Drop.QUEUE_FULL
        if drop is not None:
            self._stats.not_copied(route.name, drop.value, 1)
            return None
        assert room is not None
        room.credits -= 1
        self._under_way[route.name] = self._under_way.get(route.name, 0) + 1
        self._next = (self._next + 1) & 0xFFFFFFFF
        capture = Capture(self._next, self._session, route.name, exchange.upstream == route.stable)
        if message.complete:
            self._send_request(capture, exchange, head, message.body, shadow.max_body)
        else:
            capture.lines = [head]  # `request_body` gets what there is of the body
        return capture

    def request_body(self, capture: Capture, exchange: Exchange, body: list[bytes]) -> None:
        """More of a request that came in pieces; called a last time when it is complete."""
        if capture.open or capture.session != self._session:
            return
        shadow = exchange.decision.route.shadow if exchange.decision is not None else None
        most = shadow.max_body if shadow is not None else 0
        if not self._hold(capture, body, most):
            return
        if exchange.message.complete:
            self._send_request(capture, exchange, capture.lines[0], capture.body, most)

    def _send_request(self, capture: Capture, exchange: Exchange, head: bytes, body: list[bytes], most: int) -> None:
        if sum(map(len, body)) > most:
            self._give_up(capture, Drop.BODY_TOO_LARGE)
            return
        if self._stuck:
            self._give_up(capture, Drop.QUEUE_FULL)
            return
        host = exchange.message.fields[b"host"]
        self._write(request_frame(capture.number, capture.compared, capture.route.encode(), host, head, body))
        capture.open = True
        capture.lines, capture.body = [], []
        self.held -= capture.held
        capture.held = 0
        self._stats.copied(capture.route)

    def answer_begun(self, capture: Capture, response: ResponseParser) -> None:
        """The head of the answer that the client gets has come."""
        if capture.compared and capture.open:
            capture.status = response.status
            capture.lines = response.lines

    def answer_body(self, capture: Capture, exchange: Exchange, body: list[bytes]) -> None:
        if capture.status and capture.session == self._session:
            shadow = exchange.decision.route.shadow if exchange.decision is not None else None
            self._hold(capture, body, shadow.max_body if shadow is not None else 0)

    def finish(self, capture: Capture, seconds: float) -> None:
        """The exchange has ended."""
        self.held -= capture.held
        capture.held = 0
        if capture.session != self._session:
            return  # counted when the connection was lost
        if not capture.open:
            self._give_up(capture, Drop.NO_PRIMARY)
        elif capture.compared:
            capture.open = False
            if not (capture.answer_complete and capture.status):
                self._write(gone_frame(capture.number, Drop.NO_PRIMARY))
            elif self._stuck:
                self._write(gone_frame(capture.number, Drop.QUEUE_FULL))
            else:
                self._write(answer_frame(capture.number, capture.status, seconds, capture.lines, capture.body))

    def _hold(self, capture: Capture, body: list[bytes], most: int) -> bool:
        """Keep a piece of a body; False where it became too much and the capture was given up."""
        size = sum(map(len, body))
        capture.held += size
        self.held += size
        if capture.held > most or self.held > MAX_HELD:
            self._give_up(capture, Drop.BODY_TOO_LARGE if capture.held > most else Drop.QUEUE_FULL)
            return False
        capture.body += body
        return True

    def _give_up(self, capture: Capture, why: Drop) -> None:
        """The shadow process counts what it has begun to wait for, this worker the rest. Nothing more is done with it."""
        self.held -= capture.held
        capture.held = 0
        capture.lines, capture.body = [], []
        if capture.open:
            self._write(gone_frame(capture.number, why))
        else:
            self._stats.not_copied(capture.route, why.value, 1)
            self._rooms[capture.route].credits += 1
            self._under_way[capture.route] -= 1
        capture.session = -1

    @property
    def _stuck(self) -> bool:
        """Whether so much is unsent that only what is small may follow."""
        return self._outbox is not None and self._outbox.unsent > MAX_UNSENT

    def _write(self, frame: bytes) -> None:
        assert self._outbox is not None
        self._outbox.write(frame)
