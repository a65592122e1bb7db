"""The access log: JSON lines, written in batches, never waited for. What can't be written is dropped and counted."""

from __future__ import annotations

import os
import random
import select
import stat
import sys
import time
from typing import TYPE_CHECKING

import orjson

from proxy.stats import WorkerStats

if TYPE_CHECKING:
    from proxy.exchange import Exchange

FLUSH_BYTES = 64 * 1024
# A pipe that nobody reads, or a full disk: keep this much, drop what comes beyond.
MAX_PENDING = 1024 * 1024
# What a client may make long is cut, so that a line stays below PIPE_BUF: a pipe then takes it whole or not at all.
MAX_PATH = 1024
MAX_NAME = 256

_random = random.Random()  # noqa: S311 - sampling


class AccessLog:
    """`path` "-" is standard output. `flush` is to be called a few times a second."""

    def __init__(self, path: str, sample: float, stats: WorkerStats) -> None:
        self._sample = sample
        self._stats = stats
        self._pending = bytearray()
        self._fd = (
            os.dup(sys.stdout.fileno()) if path == "-" else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        )
        # Anything else, such as a named pipe or /dev/stdout, may have a reader that is slow.
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        # Wall-clock time of the monotonic clock's zero, so that a line needs no second look at a clock.
        self._epoch = time.time() - time.monotonic()

    def write(self, exchange: Exchange, now: float) -> None:
        """One line for an exchange that has ended; `now` is monotonic."""
        if self._sample < 1.0 and _random.random() >= self._sample:
            return
        if len(self._pending) >= FLUSH_BYTES:
            self.flush()
        if len(self._pending) >= MAX_PENDING:
            self._stats.count("access_log_dropped")
            return
        message, decision = exchange.message, exchange.decision
        line: dict[str, object] = {
            "time": round(self._epoch + now, 3),
            "client": message.client_ip or exchange.client.peer,
            "method": message.method.decode("latin-1"),
            "host": message.host[:MAX_NAME].decode("latin-1"),
            "path": message.path[:MAX_PATH].decode("latin-1"),
            "status": exchange.status,
            "ms": round((now - exchange.started) * 1000, 3),
            "bytes_in": exchange.body_sent,
            "bytes_out": exchange.bytes_out,
            "request_id": message.request_id[:MAX_NAME].decode("latin-1"),
        }
        if decision is not None:
            line["route"] = decision.route.name
            line["upstream"] = exchange.upstream_name if exchange.upstream >= 0 else None
            line["endpoint"] = exchange.pool.endpoint.url if exchange.pool is not None else None
            line["reason"] = decision.reason.value
            line["attempts"] = exchange.attempts
        if exchange.error is not None:
            line["error"] = exchange.error.label
        self._pending += orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def flush(self) -> None:
        """Write what the descriptor takes now. A pipe that is full keeps the rest for later."""
        pending = self._pending
        while pending:
            try:
                # A pipe takes up to PIPE_BUF whole or not at all, so lines of several workers don't mix.
                end = len(pending) if self._is_file else _line_end(pending, select.PIPE_BUF)
                if not self._is_file and not _writable(self._fd):
                    return
                written = os.write(self._fd, memoryview(pending)[:end].tobytes())
            except OSError:
                self._stats.count("access_log_dropped", by=pending.count(b"\n"))
                pending.clear()
                return
            del pending[:written]

    def close(self) -> None:
        self.flush()
        os.close(self._fd)


def _line_end(pending: bytearray, limit: int) -> int:
    """Where the last whole line within `limit` bytes ends, or the first line if that is longer."""
    end = pending.rfind(b"\n", 0, limit)
    return (end if end >= 0 else pending.find(b"\n")) + 1


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
