"""A steady load of requests, and upstreams that can say when each arrived, for tests of promises about time.

Threads of the test's own process are slow to be scheduled on a busy machine, so a request may be noticed long after it
arrived. `Arrived.earliest` is therefore a time at which it had certainly not arrived yet: to call a request late is never a
mistake, and an upstream that is looked at every few milliseconds overlooks nothing for long.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.support.gateway import Gateway
from tests.support.wire import PATIENCE, ClosedError, Wire, parse_head, request

LOOK_SECONDS = 0.005


@dataclass(slots=True)
class Arrived:
    """A request's number; `earliest` and `noticed` are monotonic."""

    number: int
    earliest: float
    noticed: float


class Meter:
    """Answers every request at once with its name, from one thread, and notes when each came."""

    def __init__(self, name: str) -> None:
        body = name.encode()
        self._answer = b"HTTP/1.1 200 OK\r\nX-Served-By: %b\r\nContent-Length: %d\r\n\r\n%b" % (body, len(body), body)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._buffers: dict[socket.socket, bytearray] = {}
        self._closing = False
        self.arrived: list[Arrived] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name=f"meter {name}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        earliest = time.monotonic()
        while not self._closing:
            self._selector.select(LOOK_SECONDS)  # only waits; what it finds may have come at any time since it began
            looked = time.monotonic()
            for key, _ in self._selector.select(0):
                if key.fileobj is self._listener:
                    sock, _ = self._listener.accept()
                    sock.setblocking(False)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._buffers[sock] = bytearray()
                    self._selector.register(sock, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj, earliest)
            earliest = looked

    def _read(self, sock: socket.socket, earliest: float) -> None:
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(sock)
            del self._buffers[sock]
            sock.close()
            return
        buffer = self._buffers[sock]
        buffer += data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            number = parse_head(bytes(buffer[:end])).get("x-number")
            del buffer[: end + 4]
            with self._changed:
                self.arrived.append(Arrived(int(number or -1), earliest, time.monotonic()))
                self._changed.notify_all()
            try:
                sock.send(self._answer)
            except OSError:
                return  # noticed as its end, next time

    def wait(self, requests: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.arrived) >= requests, PATIENCE), (
                f"{len(self.arrived)} requests instead of {requests}"
            )

    def close(self) -> None:
        self._closing = True
        self._thread.join(PATIENCE)
        for sock in (self._listener, *self._buffers):
            sock.close()
        self._selector.close()


class Load:
    """Clients that each send one request after another over a kept connection, and open another when it is closed."""

    def __init__(self, gateway: Gateway, clients: list[Mapping[str, str]]) -> None:
        """A client is its fields: a header, a cookie."""
        self._gateway = gateway
        self._numbers = itertools.count()
        self._stop = False
        self._changed = threading.Condition()
        self.statuses: list[int] = []
        self.broken = 0
        """Connections that were closed before an answer was complete."""
        self._failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(dict(fields),), name="client", daemon=True) for fields in clients
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        for thread in self._threads:
            thread.join(PATIENCE)
        if self._failures:
            raise self._failures[0]

    def _run(self, fields: dict[str, str]) -> None:
        try:
            while not self._stop:
                with self._gateway.connect() as wire:
                    self._over(wire, fields)
        except BaseException as error:
            self._failures.append(error)

    def _over(self, wire: Wire, fields: dict[str, str]) -> None:
        while not self._stop:
            try:
                wire.send(request(fields={**fields, "X-Number": str(next(self._numbers))}))
                response = wire.response()
            except (ClosedError, ConnectionError):
                self.broken += 1
                return
            with self._changed:
                self.statuses.append(response.status)
                self._changed.notify_all()
            if response.get("Connection") == "close":
                return

    def next_number(self) -> int:
        """Requests sent from now on have this number or a higher one."""
        return next(self._numbers)

    def wait(self, more: int) -> None:
        """So many more answers."""
        with self._changed:
            target = len(self.statuses) + more
            assert self._changed.wait_for(lambda: len(self.statuses) >= target, PATIENCE), "the load has stopped"


def late(meter: Meter, answered: float, allowed: float) -> list[Arrived]:
    """The requests that had certainly not arrived at `answered` + `allowed` and arrived all the same."""
    return [one for one in meter.arrived if one.earliest > answered + allowed]


def measured(call: Callable[[], object]) -> tuple[object, float]:
    """What it returned, and when (monotonic)."""
    result = call()
    return result, time.monotonic()
