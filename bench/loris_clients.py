"""Slow clients: `python -m bench.loris_clients PORT`. Each sends the beginning of a head, then a byte every INTERVAL seconds, and
comes again when it is cut. They come from several addresses, so that ports are enough for those that linger after their end.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import sys
from collections import Counter, deque
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from bench.child import say

INTERVAL = 5.0
# As long as they last: who all begin at once also end at once, ten seconds later.
OPENING_SECONDS = 10.0
ADDRESSES = 20
# Files besides the connections: a worker's other sockets.
SPARE_FILES = 500
BEGINNING = b"GET /slow HTTP/1.1\r\nHost: shop.example.com\r\nX-Long: "
_TICK_SECONDS = 0.01
_BIND_ADDRESS_NO_PORT = 24  # Linux; the socket module has no name for it


class Slow:
    """Connections, each of which has sent a part of a head."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._poll.register(sys.stdin, select.EPOLLIN)
        self._open: dict[int, socket.socket] = {}
        self._turns: deque[socket.socket] = deque()
        self._dripped = monotonic()
        self._made = 0
        self._count = 0
        self._ended: Counter[str] = Counter()

    def run(self) -> None:
        """Returns when the bench is gone."""
        while True:
            for fd, _ in self._poll.poll(_TICK_SECONDS):
                if fd != sys.stdin.fileno():
                    self._end(fd)
                elif not (line := sys.stdin.readline()):
                    return
                else:
                    say(self._answer(json.loads(line)))
            while len(self._open) < self._count:
                self._connect()
            self._drip()

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "open":
            self._count, self._ended = asked["count"], Counter()
            began = monotonic()
            while len(self._open) < self._count:
                self._connect()
                due = OPENING_SECONDS * len(self._open) / self._count
                sleep(max(0.0, began + due - monotonic()))
            return {}
        report = {"open": len(self._open), "ended": self._ended}
        self._count = 0
        for sock in self._open.values():
            sock.close()
        self._open.clear()
        self._turns.clear()
        return report

    def _connect(self) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.0.0.{2 + self._made % ADDRESSES}", 0))
        self._made += 1
        sock.connect(("127.0.0.1", self._port))
        sock.setblocking(False)
        sock.send(BEGINNING)
        self._open[sock.fileno()] = sock
        self._turns.append(sock)
        self._poll.register(sock, select.EPOLLIN)

    def _end(self, fd: int) -> None:
        sock = self._open.pop(fd, None)
        if sock is None:
            return
        try:
            said = sock.recv(4096)
        except OSError:
            said = b""
        self._ended[said[9:12].decode("latin-1") or "reset"] += 1
        sock.close()

    def _drip(self) -> None:
        """A byte for each whose turn it is."""
        now = monotonic()
        due = min(int((now - self._dripped) / INTERVAL * len(self._turns)), len(self._turns))
        if not due:
            return
        self._dripped = now
        for _ in range(due):
            sock = self._turns.popleft()
            if sock.fileno() >= 0:
                with suppress(OSError):  # the end of it is told by the next poll
                    sock.send(b"x")
                self._turns.append(sock)


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setscheduler(
        0, os.SCHED_IDLE, os.sched_param(0)
    )  # a nice process still keeps its slice of 3 ms from who wakes up
    say({})
    Slow(int(sys.argv[1])).run()


if __name__ == "__main__":
    main()
