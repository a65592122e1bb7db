"""The control plane's log goes to standard error, a line of JSON each; and where whoever read it is gone, nowhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TextIO

import orjson


class LogStream:
    """Standard error, whose loss fails nobody: a gateway must stop, and cut back, without a reader of its log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def say(level: str, event: str, **fields: object) -> None:
    """The supervisor's lines."""
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": level, "event": event, **fields}
    stream = LogStream(sys.stderr)
    stream.write(orjson.dumps(line).decode() + "\n")
    stream.flush()
