"""One child process of the supervisor: started with a control socket, watched by its heartbeat, killed when it is silent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from admin.compiled import compiled_path
from proxy.control import Channel, Heartbeat, Message, ShadowState, WorkerState

SILENCE_SECONDS = 2.0
# Up to its Ready, and up to the gateway's: importing and connecting, on a machine that is busy starting everything at once.
BOOT_SECONDS = 20.0

# Bodies pass in pieces of up to 64 KB, and glibc by default gives the top of the heap back to the kernel as soon as 128 KB are
# free, to fault it in again page by page for the next: that was half of the processor time of large bodies (docs/performance.md).
# So a worker keeps up to 16 MB. Other C libraries ignore these; an operator's own values win. The shadow process passes the same
# bodies on.
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(16 * 1024 * 1024), "MALLOC_MMAP_THRESHOLD_": str(1024 * 1024)}

_COMPILED = {"proxy.worker", "shadow.process"}


class Child:
    """`on_message` gets all but heartbeats, `on_up` comes once with the first sign of life, `on_exit` once at the end."""

    def __init__(
        self,
        name: str,
        on_up: Callable[[Child], None],
        on_message: Callable[[Child, Message], None],
        on_exit: Callable[[Child], None],
    ) -> None:
        self.name = name
        self.up = False
        self.ready = False
        self.exited = False
        self.started_at = time.time()
        self._on_up = on_up
        self._on_message = on_message
        self._on_exit = on_exit
        self._heard = self._born = time.monotonic()
        self._channel = Channel(self._message, self._lost)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, module: str, arguments: Sequence[str], fds: Sequence[int]) -> None:
        """Run `python -m module --control-fd FD arguments…`, FD being its end of the control socket; `fds` go with it."""
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            # -P: a folder called `proxy` where the gateway is started must not be taken for ours.
            environment = dict(os.environ)
            if module in _COMPILED:
                environment = {**_MALLOC, **environment}
                if (compiled := compiled_path()) is not None:
                    environment["PYTHONPATH"] = str(compiled)
            command = [sys.executable, "-P", "-m", module, "--control-fd", str(theirs.fileno()), *arguments]
            self._process = _popen(command, [theirs.fileno(), *fds], environment)
        await asyncio.get_running_loop().create_unix_connection(lambda: self._channel, sock=ours)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    @property
    def age(self) -> float:
        """Seconds; whatever becomes of the wall clock."""
        return time.monotonic() - self._born

    def send(self, message: Message) -> None:
        self._channel.send(message)

    def silent(self, now: float, patience: float = SILENCE_SECONDS) -> bool:
        """Whether its event loop has not been heard of for too long; `now` is monotonic. `patience` is of one that is ready."""
        return not self.exited and now - self._heard > (patience if self.ready else BOOT_SECONDS)

    def excuse(self, now: float) -> None:
        """Its silence up to now says nothing about it."""
        self._heard = now

    def kill(self) -> None:
        """At once, stopped or not; returns when it is gone."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def end(self) -> None:
        """Kill, and report the exit now rather than when its socket says so."""
        self.kill()
        self._lost()

    def _message(self, message: Message) -> None:
        self._heard = time.monotonic()
        if not self.up:
            self.up = True
            self._on_up(self)
        if not isinstance(message, Heartbeat):
            self._on_message(self, message)

    def _lost(self) -> None:
        """Its end of the socket closed: it has exited, or is about to."""
        if not self.exited:
            self.exited = True
            if self._process is not None:
                try:
                    self._process.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    self.kill()
            self._on_exit(self)

    @property
    def exit_status(self) -> int | None:
        return self._process.poll() if self._process is not None else None


def tell(child: Child | None, message: Message) -> bool:
    """False where nobody is there to hear it."""
    if child is None or not child.up or child.exited:
        return False
    child.send(message)
    return True


def worker_states(workers: Mapping[int, Child], revisions: Mapping[int, int]) -> tuple[WorkerState, ...]:
    """Of those that are there; `revisions` are what they acknowledged last."""
    return tuple(
        WorkerState(number, child.pid, child.ready, revisions.get(number, 0), child.started_at)
        for number, child in workers.items()
        if not child.exited
    )


def shadow_state(shadow: Child | None, restarts: int) -> ShadowState | None:
    if shadow is None:
        return None
    return ShadowState(0 if shadow.exited else shadow.pid, shadow.ready and not shadow.exited, restarts)


def _popen(command: Sequence[str], fds: Sequence[int], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Not asyncio's own: the exit is seen by the control socket's end, and is to be waited for at once when we kill."""
    return subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL, env=environment)
