"""One differ process: started with a socket of its own, its processor time read from outside, ended for good."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import cast

from shadow.jobs import Adopt, Done, Frames, Job, Ready, framed

# Linux numbers the clocks of processes so: include/linux/posix-timers.h, CPUCLOCK_SCHED.
_CPU_CLOCK = 2


def cpu_of(pid: int) -> float:
    """Processor seconds that a process has used so far; none once it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | _CPU_CLOCK)
    except OSError:
        return 0.0


class DifferProcess(asyncio.Protocol):
    """`on_exit` is called once, unless we ended it."""

    def __init__(
        self,
        number: int,
        on_ready: Callable[[], None],
        on_done: Callable[[Done], None],
        on_exit: Callable[[], None],
    ) -> None:
        self._number = number
        self._on_ready = on_ready
        self._on_done = on_done
        self._on_exit = on_exit
        self._frames = Frames()
        self._transport: asyncio.WriteTransport | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            # -P: a folder called `shadow` where the gateway is started must not be taken for ours.
            self._process = _popen(self._number, theirs.fileno())
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def send(self, frame: Adopt | Job) -> None:
        if self._transport is not None:
            self._transport.write(framed(frame))

    def end(self) -> None:
        """At once, stopped or not; it is gone when this returns, and nothing is called any more."""
        self._ended = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are none by class
        if self._ended:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            if self._ended:
                return
            if isinstance(frame, Ready):
                self._on_ready()
            elif isinstance(frame, Done):
                self._on_done(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._ended:
            self.end()
            self._on_exit()


def _popen(number: int, fd: int) -> subprocess.Popen[bytes]:
    """Not asyncio's own: the exit is seen by the socket's end, and is to be waited for at once when we kill."""
    # -P: a folder called `shadow` where the gateway is started must not be taken for ours.
    command = [sys.executable, "-P", "-m", "shadow.differ", "--fd", str(fd), "--number", str(number)]
    return subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL)
