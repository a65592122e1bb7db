"""What the supervisor concludes from silence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from admin.child import SILENCE_SECONDS, Child
from admin.supervisor import Supervisor
from proxy.control import Message


class Silent(Child):
    """Was heard of once, and never again."""

    def __init__(self) -> None:
        super().__init__("worker 0", lambda child: None, self._ignore, lambda child: None)
        self.up = True
        self.kills = 0

    def _ignore(self, child: Child, message: Message) -> None:
        pass

    def kill(self) -> None:
        self.kills += 1


@pytest.mark.parametrize("held_up", [False, True])
async def test_child_is_not_blamed_for_the_time_its_supervisor_did_not_run_either(
    monkeypatch: pytest.MonkeyPatch, held_up: bool
) -> None:
    """A container that is paused and goes on must not lose all its workers at once."""
    supervisor, child = Supervisor(Path("x"), Path("x"), 1.0, []), Silent()
    supervisor._workers[0] = child
    now, step = time.monotonic(), SILENCE_SECONDS + 1.0 if held_up else 0.25
    for _ in range(1 if held_up else round(SILENCE_SECONDS / step) + 1):
        now += step
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        supervisor._watch()
    monkeypatch.undo()
    assert bool(child.kills) is not held_up
