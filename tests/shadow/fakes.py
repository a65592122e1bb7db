"""The shadow process without sockets: a mirror, the workers that send it copies and the upstreams that get them, each as the
test has it. Like a real loop, nothing calls back from within a call: what is due is done by `settle`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, cast

from proxy.capture_frames import CREDIT_HEAD, Drop, Frames, answer_frame, gone_frame, request_frame
from proxy.errors import ErrorKind
from proxy.pool import Pool
from proxy.response_head import response_table
from proxy.response_parser import ResponseParser
from proxy.upstream import UpstreamConnection
from routing.snapshot import Live
from shadow.answer import Answer
from shadow.differs import Differs
from shadow.intake import Link
from shadow.mirror import Mirror
from shadow.verdict import Compared
from tests.proxy.fakes import End, Transport, snapshot_of

BLUE, NEXT, CONTROL = "http://10.0.0.1:8001", "http://10.0.0.3:8003", "http://10.0.0.4:8004"
UPSTREAMS = {"blue": {"endpoints": [BLUE]}, "next": {"endpoints": [NEXT]}, "same": {"endpoints": [CONTROL]}}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"GET /orders/17 HTTP/1.1\r\nHost: 10.0.0.1:8001\r\nAccept: */*\r\n\r\n"


class Net:
    """Upstreams that connect at once, unless `hold` is set or their URL is in `refusing`."""

    def __init__(self) -> None:
        self._due: deque[Callable[[], object]] = deque()
        self._table = response_table()
        self.hold = False
        self.refusing: set[str] = set()
        self.dials: list[tuple[Pool, ResponseParser]] = []
        self.origins: list[End] = []

    def later(self, call: Callable[[], object]) -> None:
        self._due.append(call)

    def settle(self) -> None:
        while self._due:
            self._due.popleft()()

    def dial(self, pool: Pool) -> None:
        """For a Pool that is made by hand."""
        self.dialled(pool, ResponseParser(self._table, 32768, 100))

    def dialled(self, pool: Pool, response: ResponseParser) -> None:
        self.dials.append((pool, response))
        if not self.hold:
            self.later(self.connect)

    def connect(self) -> End | None:
        """The oldest dial ends. None where it was refused."""
        pool, response = self.dials.pop(0)
        url = pool.endpoint.url
        if url in self.refusing:
            pool.failed(ErrorKind.CONNECT)
            return None
        connection = UpstreamConnection(pool, response)
        transport = Transport(self.later, (pool.endpoint.host, pool.endpoint.port))
        transport.protocol = cast(Any, connection)
        transport.protocol.connection_made(transport)
        self.origins.append(end := End(cast(Any, self), transport, url))
        pool.dialled(connection)
        return end

    def at(self, url: str) -> list[End]:
        return [origin for origin in self.origins if origin.url == url]


class FakeDiffers:
    """Keeps what it is given to compare; the test says what comes of it."""

    def __init__(self) -> None:
        self.jobs: list[tuple[tuple[Answer | None, ...], Callable[[Compared], None]]] = []
        self.busy = False

    def adopt(self, rules: object) -> None:
        pass

    def submit(self, route: str, answers: Iterable[Answer | None], done: Callable[[Compared], None]) -> bool:
        if not self.busy:
            self.jobs.append((tuple(answers), done))
        return not self.busy


class Worker:
    """The far end of a link: what a worker sends, and the credits that it has."""

    def __init__(self, scene: Shadows) -> None:
        self._scene = scene
        self._frames = Frames()
        self._numbers = 0
        self.link = Link(scene.mirror)
        self.transport = Transport(scene.later, ("", 0))
        self.transport.protocol = cast(Any, self.link)
        self._credits: dict[str, int] = {}
        self._through: dict[str, int] = {}
        self.backed_off = False
        self.link.connection_made(self.transport)
        scene.settle()

    def send(self, *frames: bytes) -> None:
        self.transport.arrive(b"".join(frames))
        self._scene.settle()

    def request(
        self, head: bytes = HEAD, body: bytes = b"", *, route: str = "shop", compared: bool = True, host: bytes = b"h"
    ) -> int:
        """A copy, whose number it returns. Its credit is used whether there is any or not."""
        self._numbers += 1
        self._credits[route] = self._credits.get(route, 0) - 1
        self.send(request_frame(self._numbers, compared, route.encode(), host, head, [body]))
        return self._numbers

    def answer(self, number: int, body: bytes = b"ok", status: int = 200, *lines: bytes) -> None:
        self.send(answer_frame(number, status, 0.01, list(lines), [body]))

    def gone(self, number: int, why: Drop = Drop.NO_PRIMARY) -> None:
        self.send(gone_frame(number, why))

    def lose(self) -> None:
        self.transport.reset()
        self._scene.settle()

    def _read(self) -> None:
        out = bytes(self.transport.out)
        self.transport.out.clear()
        for frame in self._frames.feed(out):
            _, _, _, credits, through, backed_off, _ = CREDIT_HEAD.unpack_from(frame)
            route = frame[CREDIT_HEAD.size :].decode()
            self._credits[route] = self._credits.get(route, 0) + credits
            self._through[route] = self._through.get(route, 0) + through
            self.backed_off = bool(backed_off)

    def credits(self, route: str = "shop") -> int:
        """What it may send now."""
        self._read()
        return self._credits.get(route, 0)

    def through(self, route: str = "shop") -> int:
        """Of what it sent, so many are accounted for."""
        self._read()
        return self._through.get(route, 0)


class Shadows(Net):
    """A mirror whose one route, `shop`, has stable `blue` and shadow `next`; `control` puts `same` beside it."""

    def __init__(self, *, control: bool = False, opened: bool = True, **shadow: Any) -> None:
        super().__init__()
        self.shadow = {"upstream": "next", "percent": 100, "noise_sample": "0%", **shadow}
        if control:
            self.shadow["control"] = "same"
        self.differs = FakeDiffers()
        self.mirror = Mirror(
            cast(Differs, self.differs),
            self.later,
            self._failed,
            lambda pool, _, response: self.dialled(pool, response),
        )
        self.adopt()
        if opened:
            self.mirror.open()

    @staticmethod
    def _failed(error: BaseException) -> None:
        raise error

    def adopt(self, live: dict[str, Live] | None = None, **shadow: Any) -> None:
        route = {"shadow": {**self.shadow, **shadow}}
        self.mirror.adopt(snapshot_of(route, UPSTREAMS), live or {"shop": Live()})
        self.settle()

    def worker(self) -> Worker:
        return Worker(self)

    def pass_time(self, seconds: float) -> None:
        self.mirror.expire(monotonic() + seconds)
        self.settle()

    def report(self) -> dict[str, Any]:
        """What the route has found so far; `compared` counts by endpoint."""
        route = self.mirror.routes["shop"]
        route.findings.resend()
        report = route.findings.take_report(0.0)
        assert report is not None
        return report.state

    def dropped(self) -> dict[str, int]:
        return dict(self.report()["dropped"])

    def outcomes(self) -> dict[str, int]:
        return dict(self.report()["outcomes"])
