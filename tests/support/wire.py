"""HTTP/1.1 on a blocking socket, byte by byte: what the tests' own clients and upstreams are made of.

It knows no policy: it sends what it is given and says exactly what came, in the spelling in which it came.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from dataclasses import dataclass, field

# For an answer on a busy machine; an event is waited for, this only ends a wait that is in vain.
PATIENCE = 30.0


class ClosedError(Exception):
    """The other end closed or reset the connection before what was waited for had come; `args[0]` is what had."""


@dataclass(slots=True)
class Head:
    """The first line and the fields of a message, names as they were spelled, in order."""

    start: str
    fields: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        return [value for own, value in self.fields if own.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.fields]


@dataclass(slots=True)
class Response:
    status: int
    head: Head
    body: bytes
    interim: list[Head] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        return self.head.get(name)


def parse_head(raw: bytes) -> Head:
    start, *lines = raw.decode("latin-1").split("\r\n")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines if line)]
    return Head(start, fields)


class Wire:
    """One connection. Every wait ends after PATIENCE with TimeoutError."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self._buffer = bytearray()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Sending

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def send_until_blocked(self, chunk: bytes, most: int, quiet: float = 0.5) -> int:
        """Send until the other end has taken nothing for `quiet` seconds, or `most` bytes went out. Returns the bytes sent."""
        sent = 0
        view = memoryview(chunk)
        self.sock.setblocking(False)
        try:
            while sent < most and select.select([], [self.sock], [], quiet)[1]:
                sent += self.sock.send(view[sent % len(chunk) :])
        finally:
            self.sock.settimeout(PATIENCE)
        return sent

    def reset(self) -> None:
        """Close so that the other end sees ECONNRESET."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    # Receiving

    def _more(self) -> None:
        try:
            data = self.sock.recv(262144)
        except ConnectionError as error:
            raise ClosedError(bytes(self._buffer)) from error
        if not data:
            raise ClosedError(bytes(self._buffer))
        self._buffer += data

    def until(self, mark: bytes) -> bytes:
        """What comes up to and with `mark`."""
        while (end := self._buffer.find(mark)) < 0:
            self._more()
        return self._take(end + len(mark))

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        return self._take(size)

    def some(self) -> bytes:
        """At least one byte."""
        if not self._buffer:
            self._more()
        return self._take(len(self._buffer))

    def to_end(self) -> bytes:
        """Everything until the other end closes in order; a reset raises ClosedError."""
        while True:
            try:
                self._more()
            except ClosedError as error:
                if error.__cause__ is not None:
                    raise
                return self._take(len(self._buffer))

    def skim(self, size: int) -> int:
        """Read and forget up to `size` bytes. Returns how many came before the end."""
        seen = min(size, len(self._buffer))
        del self._buffer[:seen]
        room = bytearray(1 << 20)
        while seen < size:
            got = self.sock.recv_into(room, min(len(room), size - seen))
            if not got:
                break
            seen += got
        return seen

    def wait_closed(self) -> None:
        """Returns once the other end has closed or reset; what comes before that is dropped."""
        with contextlib.suppress(ClosedError):
            while True:
                self._buffer.clear()
                self._more()

    @property
    def silent(self) -> bool:
        """Whether nothing lies here unread, not even the end, at this moment."""
        return not self._buffer and not select.select([self.sock], [], [], 0)[0]

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    # HTTP

    def head(self) -> Head:
        return parse_head(self.until(b"\r\n\r\n")[:-4])

    def chunk(self) -> bytes:
        """One chunk's data; empty for the last, whose trailers are left unread."""
        size = int(self.until(b"\r\n").split(b";")[0], 16)
        if not size:
            return b""
        data = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return data

    def chunks(self) -> tuple[bytes, list[tuple[str, str]]]:
        body = bytearray()
        while data := self.chunk():
            body += data
        trailers = bytearray()
        while (line := self.until(b"\r\n")) != b"\r\n":
            trailers += line
        return bytes(body), parse_head(b"\r\n" + bytes(trailers)).fields

    def response(self, *, head_request: bool = False) -> Response:
        """The next response whole, whatever frames it."""
        interim: list[Head] = []
        while True:
            head = self.head()
            status = int(head.start.split(" ")[1])
            if status >= 200 or status == 101:
                break
            interim.append(head)
        body, trailers = b"", list[tuple[str, str]]()
        if head_request or status in (101, 204, 304):
            pass
        elif head.get("transfer-encoding") == "chunked":
            body, trailers = self.chunks()
        elif (length := head.get("content-length")) is not None:
            body = self.exactly(int(length))
        else:
            body = self.to_end()
        return Response(status, head, body, interim, trailers)


def connect(address: tuple[str, int], *, receive_buffer: int = 0) -> Wire:
    """`receive_buffer` bounds what the kernel takes for a reader that does not read."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Wire(sock)


def request(
    target: str = "/", *, method: str = "GET", fields: dict[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """The bytes of a request. Host is shop.example unless `fields` has one."""
    fields = {"Host": "shop.example", **(fields or {})}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")
