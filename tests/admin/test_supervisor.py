"""What the supervisor concludes from silence, and what it tells admin."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from admin.child import SILENCE_SECONDS, Child
from admin.supervisor import Supervisor
from proxy.control import Ack, Message, Publish, Ready, Workers


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


class StubChild(Child):
    """Runs nothing and keeps what it was sent."""

    def __init__(self, name: str) -> None:
        super().__init__(name, lambda child: None, lambda child, message: None, lambda child: None)
        self.up = True
        self.sent: list[Message] = []

    @property
    def pid(self) -> int:
        return 1

    def send(self, message: Message) -> None:
        self.sent.append(message)


def serving() -> tuple[Supervisor, StubChild, StubChild]:
    """A supervisor, its admin, and its one worker, which serves by revision 1."""
    admin, worker = StubChild("admin"), StubChild("worker 0")
    supervisor = Supervisor(Path("headgate.yaml"), Path("headgate-state"), 1.0, [])
    supervisor._admin, supervisor._workers = admin, {0: worker}
    supervisor._from_admin(admin, Publish(1, {}, b"snapshot"))
    for message in (Ack(1, {}), Ready()):
        supervisor._from_worker(worker, message)
    return supervisor, admin, worker


async def test_admin_is_told_which_revision_each_worker_has_after_every_change() -> None:
    supervisor, admin, worker = serving()
    supervisor._from_admin(admin, Publish(2, {}))
    supervisor._from_worker(worker, Ack(2, {}))
    told = [state.revision for message in admin.sent if isinstance(message, Workers) for state in message.workers]
    assert told[-1] == 2
