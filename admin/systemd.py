"""What a service manager is told (sd_notify(3)) and what it hands over (sd_listen_fds(3)): datagrams, and descriptors from 3 on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

FIRST_DESCRIPTOR = 3


class Notifier:
    """Silent where nobody asked, and where nobody listens: a service manager that is gone is no reason to stop."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # Half of what is allowed between two, as sd_watchdog_enabled(3) advises.
        self._every = int(environ.get("WATCHDOG_USEC", "0")) / 2e6 if mine else 0.0
        self._alive = 0.0
        self._reloading = False

    def serving(self) -> None:
        self._tell("READY=1", "STATUS=serving")

    def reloading(self) -> None:
        self._reloading = True
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        if self._reloading:
            self._reloading = False
            self.serving()

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=draining")

    def alive(self, now: float) -> None:
        """The event loop turns; `now` is monotonic."""
        if self._every and now - self._alive >= self._every:
            self._alive = now
            self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass


def inherited_sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """Listening sockets that were opened for this process. The variables are removed: they are not our children's."""
    found: list[socket.socket] = []
    number, pid = environ.pop("LISTEN_FDS", "0"), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid == str(os.getpid()):
        for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(number)):
            os.set_inheritable(descriptor, False)
            found.append(socket.socket(fileno=descriptor))
    return found
