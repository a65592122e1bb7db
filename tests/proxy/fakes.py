"""A worker's data plane without sockets, so that a test reads as a sequence: bytes in, bytes out.

A `Scene` is a plane and the network around it. `End` is the far end of one connection, as a client or an upstream has it. Like
a real loop, the scene never calls back from within a call: what a transport has to say is delivered by `settle`, which every
step of a test ends with.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

from proxy.breaker import Breakers
from proxy.client import ClientConnection
from proxy.control import InFlight, Publish
from proxy.errors import ErrorKind
from proxy.plane import Plane
from proxy.pool import Pool
from proxy.response_parser import ResponseParser
from proxy.upstream import UpstreamConnection
from routing.compile import compile_snapshot
from routing.load import load_text
from routing.snapshot import CutbackMode, Live, Snapshot, Upstream
from tests.support.wire import Head, parse_head

PEER = "203.0.113.5"
GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BLUE, CANARY = "http://10.0.0.1:8001", "http://10.0.0.2:8002"
UPSTREAMS: dict[str, Any] = {"blue": {"endpoints": [BLUE]}, "canary": {"endpoints": [CANARY]}}
Later = Callable[[Callable[[], None]], None]


def snapshot_of(
    route: Mapping[str, Any] | None = None, upstreams: Mapping[str, Any] | None = None, revision: int = 1, **top: Any
) -> Snapshot:
    """One route `shop`, stable `blue`, which takes everything, unless told otherwise; JSON is YAML."""
    document = {
        "listen": [{"address": "127.0.0.1:8080"}],
        "access_log": {"sample": 0},
        "upstreams": UPSTREAMS if upstreams is None else upstreams,
        "routes": {"shop": {"stable": "blue", "weights": {"blue": 1}, **(route or {})}},
        **top,
    }
    return compile_snapshot(load_text(json.dumps(document), {}), revision=revision, secret=b"s" * 32)


class Transport(asyncio.Transport):
    """What the protocol sees. With `stuck` set, the far end takes nothing: what is written stays in the buffer."""

    def __init__(self, later: Later, peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer})
        self._later = later
        self.protocol: asyncio.Protocol
        self.out = bytearray()
        self.waiting: deque[bytes] = deque()
        self.paused = self.half_closed = self.closed = self.aborted = self.lost = self.stuck = False
        self._blocked = False
        self.buffered = self.most_buffered = 0
        self._high, self._low = 64 * 1024, 16 * 1024

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.half_closed, "written after write_eof"
        if self.closed:
            return
        self.out += data
        if self.stuck:
            self.buffered += len(data)
            self.most_buffered = max(self.most_buffered, self.buffered)
            if self.buffered > self._high and not self._blocked:
                self._blocked = True
                self.protocol.pause_writing()

    def take(self, size: int) -> None:
        """The far end reads so much of the buffer."""
        self.buffered = max(0, self.buffered - size)
        if self._blocked and self.buffered <= self._low and not self.lost:
            self._blocked = False
            self.protocol.resume_writing()
        if self.closed and not self.buffered:
            self._lose(None)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is not None
        self._high, self._low = high, low

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self._later(self._deliver)

    def arrive(self, data: bytes) -> None:
        """Bytes of the far end; empty is its end of file."""
        self.waiting.append(data)
        self._later(self._deliver)

    def _deliver(self) -> None:
        while self.waiting and not (self.paused or self.closed):
            data = self.waiting.popleft()
            if data:
                self.protocol.data_received(data)
            elif not self.protocol.eof_received():
                self.close()

    def write_eof(self) -> None:
        self.half_closed = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.buffered:
                self._lose(None)

    def abort(self) -> None:
        self.closed = self.aborted = True
        self.buffered = 0
        self._lose(None)

    def reset(self) -> None:
        self.closed = True
        self._lose(ConnectionResetError())

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self._later(lambda: self._say_lost(error))

    def _say_lost(self, error: Exception | None) -> None:
        self.protocol.connection_lost(error)
        del self.protocol  # as real ones do, so that the two don't keep each other


class End:
    """The far end of one connection."""

    def __init__(self, scene: Scene, transport: Transport, url: str = "") -> None:
        self._scene = scene
        self.transport = transport
        self.url = url

    def send(self, *parts: bytes) -> End:
        for part in parts:
            if part:
                self.transport.arrive(part)
            self._scene.settle()
        return self

    def finish(self) -> None:
        """Close in order."""
        self.transport.arrive(b"")
        self._scene.settle()

    def reset(self) -> None:
        self.transport.reset()
        self._scene.settle()

    def take(self, size: int = 1 << 30) -> None:
        self.transport.take(size)
        self._scene.settle()

    def received(self) -> bytes:
        """What came since the last call."""
        out = bytes(self.transport.out)
        self.transport.out.clear()
        return out

    def head(self) -> Head:
        """The one head that came since the last call; what is behind it stays."""
        head, _, rest = self.received().partition(b"\r\n\r\n")
        self.transport.out += rest
        return parse_head(head)

    @property
    def closed(self) -> bool:
        return self.transport.closed


class Scene:
    """`hold` keeps dials open until the test answers them; endpoints in `refusing` refuse them."""

    def __init__(
        self,
        snapshot: Snapshot | None = None,
        *,
        hold: bool = False,
        breakers: Breakers | None = None,
        **settings: Any,
    ) -> None:
        self._due: deque[Callable[[], None]] = deque()
        self.hold = hold
        self.stuck = False
        """Whether upstreams that connect from now on do not read."""
        self.refusing: dict[str, ErrorKind] = {}
        self.dials: list[tuple[Pool, ResponseParser]] = []
        self.dialled: list[str] = []
        self.origins: list[End] = []
        """The far ends of connections to upstreams, in the order in which they came about."""
        self.settings = settings
        snapshot = snapshot or snapshot_of(**settings)
        self.plane = Plane(snapshot, {}, self._failed, dialler=self._dial, breakers=breakers)
        self.began = self.plane.now

    @staticmethod
    def _failed(error: BaseException) -> None:
        raise error

    def later(self, call: Callable[[], None]) -> None:
        self._due.append(call)

    def settle(self) -> None:
        while self._due:
            self._due.popleft()()

    # Clients and upstreams

    def client(self, peer: str = PEER, *, tls: bool = False, extra: bytes = b"") -> End:
        transport = Transport(self.later, (peer, 40000))
        transport.protocol = cast(asyncio.Protocol, ClientConnection(self.plane, tls, extra))
        transport.protocol.connection_made(transport)
        self.settle()
        return End(self, transport)

    def _dial(self, pool: Pool, upstream: Upstream, response: ResponseParser) -> None:
        self.dialled.append(pool.endpoint.url)
        self.dials.append((pool, response))
        if not self.hold:
            self.later(self.answer)

    def answer(self, kind: ErrorKind | None = None) -> None:
        """The oldest dial succeeds or fails."""
        pool, response = self.dials.pop(0)
        url = pool.endpoint.url
        kind = kind or self.refusing.get(url)
        if kind is not None:
            pool.failed(kind)
            return
        connection = UpstreamConnection(pool, response)
        connection.idle_since = self.plane.now
        transport = Transport(self.later, (pool.endpoint.host, pool.endpoint.port))
        transport.stuck = self.stuck
        transport.protocol = cast(asyncio.Protocol, connection)
        transport.protocol.connection_made(transport)
        self.origins.append(End(self, transport, url))
        pool.dialled(connection)

    def connect(self, kind: ErrorKind | None = None) -> None:
        self.answer(kind)
        self.settle()

    @property
    def origin(self) -> End:
        """The newest connection to an upstream."""
        return self.origins[-1]

    def ask(self, request: bytes = GET, **fields: Any) -> tuple[End, End]:
        """A new client sends a request; returns it and the upstream's end that got it."""
        client = self.client(**fields).send(request)
        return client, self.origin

    def forwarded(self, request: bytes) -> Head:
        """The head that a request comes to at the upstream."""
        return self.ask(request)[1].head()

    def answered(self, response: bytes, request: bytes = GET) -> bytes:
        """What a client gets where the upstream answers with `response` and closes."""
        client, origin = self.ask(request)
        origin.send(response).finish()
        return client.received()

    # State and time

    def pass_time(self, to: float) -> None:
        """It is so many seconds after the scene began."""
        self.plane.expire(self.began + to)
        self.settle()

    def publish(
        self, live: Live | None = None, in_flight: InFlight = InFlight.FINISH, route: str = "shop"
    ) -> dict[str, int]:
        left = self.plane.apply(Publish(2, {route: live or Live(cutback=CutbackMode.CUT)}, None, in_flight))
        self.settle()
        return left

    def adopt(self, live: dict[str, Live] | None = None, **settings: Any) -> None:
        self.plane.adopt(snapshot_of(**{**self.settings, **settings}), live or {"shop": Live()})
        self.settle()

    def count(self, metric: str, label: str = "") -> int:
        return self.plane.stats.counters.get((metric, label), 0)

    def codes(self) -> dict[tuple[str, str], dict[int, int]]:
        """Requests counted so far, by route, upstream and status."""
        return {(cell.route, cell.upstream): cell.codes for cell in self.plane.stats.take()[0]}

    @property
    def pools(self) -> dict[str, Pool]:
        return {pool.endpoint.url: pool for pool in self.plane.upstreams.all()}

    @property
    def at_rest(self) -> bool:
        """Nothing is under way: no exchange, no lease, nobody in line, no retry counted."""
        return not self.plane.active and not self.plane.retrying and not any(pool.load for pool in self.pools.values())


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_of(answer: bytes) -> str | None:
    return parse_head(answer.partition(b"\r\n\r\n")[0]).get("X-Headgate-Error")


def request(
    *lines: bytes, method: bytes = b"GET", target: bytes = b"/", version: bytes = b"1.1", body: bytes = b""
) -> bytes:
    """Host is shop.example, unless `lines` has one."""
    if not any(line.lower().startswith(b"host:") for line in lines):
        lines = (b"Host: shop.example", *lines)
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, version), *lines, b"", body])
