"""The wall clock is for stamps: whatever becomes of it, no child is blamed for it and no wait is longer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from admin.child import SILENCE_SECONDS
from admin.supervisor import Supervisor
from tests.admin.test_supervisor import Silent

YEAR = 365 * 86400.0


@pytest.mark.parametrize("jump", [-YEAR, YEAR])
async def test_clock_that_jumps_makes_no_child_silent_and_no_crash_loop(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    supervisor, child = Supervisor(Path("x"), Path("x"), 1.0, []), Silent()
    supervisor._workers[0] = child
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    supervisor._watch()
    monkeypatch.undo()
    assert child.kills == 0
    assert 0.0 <= child.age < SILENCE_SECONDS
