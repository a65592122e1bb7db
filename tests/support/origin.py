"""Upstreams for tests: each connection is served by a script in a thread of its own, and what arrived is kept with its time."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.wire import PATIENCE, ClosedError, Head, Wire


@dataclass(slots=True)
class Arrival:
    """One request, as it came. `at` is monotonic, taken when its head was complete."""

    at: float
    connection: int
    head: Head
    body: bytes = b""
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def method(self) -> str:
        return self.head.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.head.start.split(" ")[1]

    def get(self, name: str) -> str | None:
        return self.head.get(name)


class Conversation(Wire):
    """One connection from the gateway, seen from the upstream."""

    def __init__(self, sock: socket.socket, origin: Origin, number: int) -> None:
        super().__init__(sock)
        self.origin = origin
        self.number = number

    def receive_head(self) -> Arrival:
        """The next request's head, recorded; its body is left unread."""
        head = self.head()
        arrival = Arrival(time.monotonic(), self.number, head)
        self.origin.record(arrival)
        return arrival

    def receive(self) -> Arrival:
        """The next request, whole."""
        return self.receive_body(self.receive_head())

    def receive_body(self, arrival: Arrival) -> Arrival:
        """The rest of it."""
        if arrival.get("transfer-encoding") == "chunked":
            arrival.body, trailers = self.chunks()
            arrival.trailers = tuple(trailers)
        elif length := arrival.get("content-length"):
            arrival.body = self.exactly(int(length))
        return arrival

    def answer(self, body: bytes = b"", status: str = "200 OK", **fields: str) -> None:
        """Underscores in names of fields stand for hyphens."""
        lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
        if not status.startswith(("204", "304")):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


Script = Callable[[Conversation], None]


def serving(name: str, status: str = "200 OK") -> Script:
    """Answers every request with the upstream's name and the request as it arrived, in JSON; keeps connections."""

    def script(connection: Conversation) -> None:
        while True:
            arrival = connection.receive()
            if arrival.method == "HEAD":
                connection.answer(b"", status, X_Served_By=name)
                continue
            seen = {
                "upstream": name,
                "method": arrival.method,
                "target": arrival.target,
                "fields": arrival.head.fields,
                "body": arrival.body.decode("latin-1"),
            }
            connection.answer(json.dumps(seen).encode(), status, X_Served_By=name, Content_Type="application/json")

    return script


class Origin:
    """Listens on a port that the system chooses, or on a Unix socket. A script that fails on its own account fails `close`."""

    def __init__(
        self, script: Script, *, unix: Path | None = None, tls: ssl.SSLContext | None = None, receive_buffer: int = 0
    ) -> None:
        self.script = script
        self._tls = tls
        if unix is None:
            self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            if receive_buffer:
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self._listener.bind(("127.0.0.1", 0))
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(unix))
            self.url = f"unix://{unix}"
        self._listener.listen(256)
        self._changed = threading.Condition()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._closing = False
        self.arrivals: list[Arrival] = []
        self.connections = 0
        self._acceptor = threading.Thread(target=self._accept, name=f"origin {self.url}", daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self._closing:
                    sock.close()
                    return
                number = self.connections
                self.connections += 1
                self._open.append(sock)
                thread = threading.Thread(target=self._converse, args=(sock, number), daemon=True)
                self._threads.append(thread)
                self._changed.notify_all()
            thread.start()

    def _converse(self, sock: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                sock.settimeout(PATIENCE)
                sock = self._tls.wrap_socket(sock, server_side=True)
                with self._changed:
                    self._open.append(sock)
            elif sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.script(Conversation(sock, self, number))
        except (OSError, ClosedError):
            pass  # the gateway, or the end of the test, closed it
        except BaseException as error:
            self._failures.append(error)
        finally:
            sock.close()

    def record(self, arrival: Arrival) -> None:
        with self._changed:
            self.arrivals.append(arrival)
            self._changed.notify_all()

    def wait(self, arrivals: int) -> list[Arrival]:
        """The requests so far, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.arrivals) >= arrivals, PATIENCE), (
                f"{len(self.arrivals)} requests arrived instead of {arrivals}"
            )
            return list(self.arrivals)

    def stop_listening(self) -> None:
        """New connections are refused from now on; those that are open stay."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(PATIENCE)

    def hang_up(self) -> None:
        """Close every connection that is open."""
        with self._changed:
            connections, self._open = self._open, []
        for sock in connections:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._changed:
            self._closing = True
        self.stop_listening()
        self.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE)
        if self._failures:
            raise self._failures[0]


Scene = Callable[[Conversation, Arrival], None]


class Scenes:
    """A script for each target, so that tests share a gateway and yet have an upstream behave each in its own way. A scene
    begins when the head of its request has come; the connection is kept for the next request unless the scene closes it."""

    def __init__(self) -> None:
        self._scenes: dict[str, Scene] = {}

    def play(self, scene: Scene) -> str:
        """The target that has this scene played."""
        target = f"/scene/{len(self._scenes)}"
        self._scenes[target] = scene
        return target

    def also(self, target: str, scene: Scene) -> None:
        """One under a name of its own."""
        self._scenes[target] = scene

    def __call__(self, connection: Conversation) -> None:
        while connection.sock.fileno() >= 0:
            arrival = connection.receive_head()
            self._scenes[arrival.target.partition("?")[0]](connection, arrival)


class Deaf:
    """Listens and never accepts: its queue is full, so a connection to it is neither made nor refused."""

    def __init__(self) -> None:
        self._sockets = [socket.create_server(("127.0.0.1", 0), backlog=0)]
        self.address = self._sockets[0].getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.address)
            self._sockets.append(filler)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


class Refusing:
    """Has a port and does not listen on it, so connections are refused and nobody else gets it."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()
