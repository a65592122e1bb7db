"""A connection is an open file: workers allow themselves as many as the system does."""

from __future__ import annotations

import resource
from pathlib import Path

from tests.support.stage import Stage


def test_worker_raises_its_soft_limit_of_open_files_to_the_hard_one(stage: Stage) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        gateway = stage.running({"blue": stage.origin().url})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limits = Path(f"/proc/{gateway.worker()}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3] == line.split()[4]
