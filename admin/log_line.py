"""The supervisor's log: a line of JSON on standard error."""

from __future__ import annotations

import sys
import time

import orjson


def say(level: str, event: str, **fields: object) -> None:
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": level, "event": event, **fields}
    sys.stderr.write(orjson.dumps(line).decode() + "\n")
    sys.stderr.flush()
