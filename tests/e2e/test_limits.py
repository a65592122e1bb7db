"""Limits of the whole gateway, with real processes."""

from __future__ import annotations

import os
import signal

from tests.support.stage import Stage


def test_rate_limit_is_the_same_over_all_workers_and_outlives_them(stage: Stage) -> None:
    """Connections of their own, which the kernel spreads over the workers."""
    gateway = stage.running({"blue": stage.origin().url}, {"rate_limit": {"rate": "20/d", "burst": 20}}, workers=3)
    assert [gateway.get()[0] for _ in range(60)] == [200] * 20 + [429] * 40
    killed = gateway.worker(1)
    os.kill(killed, signal.SIGKILL)
    gateway.until(lambda: gateway.by_title().get("headgate: worker 1", killed) != killed, "another worker 1")
    assert [gateway.get()[0] for _ in range(20)] == [429] * 20
