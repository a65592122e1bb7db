"""The hot path without sockets, compiled and plain: what a change to it costs, within seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from admin.compiled import compiled_path
from bench.figures import Figure, Finding, NotMeasured
from bench.options import Options


def measure(options: Options) -> Iterator[Finding]:
    folder = compiled_path()
    if folder is None:
        yield NotMeasured("compiled: an exchange", "these sources are not compiled; python -m admin.compiled does it")
    else:
        yield from _figures("compiled", str(folder))
    yield from _figures("plain", None)


def _figures(form: str, folder: str | None) -> Iterator[Finding]:
    environment = {**os.environ, **({"PYTHONPATH": folder} if folder else {})}
    command = [sys.executable, "-P", "-m", "bench.hot_path"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["compiled"] == (folder is not None), "the bench ran another form than it says"
    note = f"best of {found['rounds']} rounds of {found['exchanges']:,}, median {found['median']:.2f} µs"
    yield Figure(f"{form}: an exchange", found["best"], "µs", None, note)
    note = f"above what its connections hold; blocks left behind by a thousand: {found['left']}"
    yield Figure(f"{form}: memory of an exchange", found["peak_bytes"] / 1024, "KB", None, note)
    yield Figure(
        f"{form}: objects in cycles", found["cycles"], "", 0, "a thousand exchanges; the collector never has work"
    )
