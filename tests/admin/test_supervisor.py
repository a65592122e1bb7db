"""What the supervisor concludes from silence, and what it tells admin."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from admin.child import BOOT_SECONDS, SILENCE_SECONDS, Child
from admin.listeners import WorkerSockets
from admin.supervisor import Phase, Supervisor
from proxy.control import (
    Ack,
    DiffReport,
    DiffsKept,
    DiffsResend,
    DiffsWanted,
    Drain,
    InForce,
    Message,
    Nack,
    Publish,
    Ready,
    ShadowState,
    Workers,
)
from tests.support.wire import PATIENCE


class Silent(Child):
    """Was heard of once, and never again."""

    def __init__(self) -> None:
        super().__init__("worker 0", lambda child: None, self._ignore, lambda child: None)
        self.up = self.ready = True
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
    supervisor._workers[0], supervisor._phase = child, Phase.RUNNING
    now, step = time.monotonic(), SILENCE_SECONDS + 1.0 if held_up else 0.25
    for _ in range(1 if held_up else round(SILENCE_SECONDS / step) + 1):
        now += step
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        supervisor._watch()
    monkeypatch.undo()
    assert bool(child.kills) is not held_up


async def test_child_is_not_killed_for_its_silence_while_the_gateway_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others still import what they need; without this one the start would have failed."""
    supervisor, child = Supervisor(Path("x"), Path("x"), 1.0, []), Silent()
    supervisor._workers[0] = child
    now, killed = time.monotonic(), []
    for _ in range(round((BOOT_SECONDS + 1.0) / 0.25)):
        now += 0.25
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        supervisor._watch()
        killed.append(child.kills > 0)
    monkeypatch.undo()
    assert not killed[round((SILENCE_SECONDS + 1.0) / 0.25)]
    assert killed[-1]


async def test_child_that_is_still_starting_may_be_silent_for_longer() -> None:
    """Its imports hold up its event loop; killed, the next one would take as long."""
    child = Silent()
    heard = time.monotonic()
    assert child.silent(heard + SILENCE_SECONDS + 1.0)
    child.ready = False
    assert not child.silent(heard + SILENCE_SECONDS + 1.0)
    assert child.silent(heard + BOOT_SECONDS + 1.0)


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


def shadowed() -> tuple[Supervisor, StubChild, StubChild, StubChild]:
    """The same with a shadow process that is up."""
    supervisor, admin, worker = serving()
    shadow = StubChild("shadow")
    supervisor._shadow, supervisor._shadow_begun = shadow, True
    supervisor._shadow_up(shadow)
    return supervisor, admin, worker, shadow


async def test_shadow_gets_the_state_when_it_comes_up_and_each_publish_from_then_on() -> None:
    supervisor, admin, _, shadow = shadowed()
    assert shadow.sent == [Publish(1, {}, b"snapshot")]
    supervisor._from_admin(admin, Publish(2, {}, shadowing=True))
    assert shadow.sent[1:] == [Publish(2, {}, shadowing=True)]


async def test_no_round_waits_for_the_shadow_and_its_refusal_changes_nothing() -> None:
    supervisor, admin, worker, shadow = shadowed()
    supervisor._from_admin(admin, Publish(2, {}))
    supervisor._from_shadow(shadow, Nack(2, "no memory"))
    supervisor._from_worker(worker, Ack(2, {}))
    assert supervisor._broadcast.late(supervisor._broadcast.publish(Publish(3, {}), {0}, 0.0)) == [0]  # type: ignore[arg-type]
    assert [type(message).__name__ for message in admin.sent].count("Published") == 2


async def test_diffs_pass_between_shadow_and_admin() -> None:
    supervisor, admin, _, shadow = shadowed()
    report = DiffReport("shop", 0, {})
    supervisor._from_shadow(shadow, DiffsWanted())
    supervisor._from_shadow(shadow, report)
    assert admin.sent[-2:] == [DiffsWanted(), report]
    supervisor._from_admin(admin, DiffsKept({"shop": {}}))
    assert shadow.sent[-1] == DiffsKept({"shop": {}})


async def test_shadow_is_asked_to_report_again_when_admin_is_new() -> None:
    supervisor, admin, _, shadow = shadowed()
    supervisor._admin_up(admin)
    assert isinstance(admin.sent[-2], InForce)
    assert shadow.sent[-1] == DiffsResend()


async def test_admin_is_told_of_the_shadow_and_that_it_was_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor, admin, _, shadow = shadowed()
    supervisor._from_shadow(shadow, Ready())
    assert told_of_shadow(admin) == ShadowState(1, True, 0)
    restarted: list[str] = []
    monkeypatch.setattr(supervisor, "_restart", lambda child, start: restarted.append(child.name))
    shadow.exited = True
    supervisor._shadow_exited(shadow)
    assert (told_of_shadow(admin), restarted) == (ShadowState(0, False, 1), ["shadow"])


def told_of_shadow(admin: StubChild) -> ShadowState | None:
    return [message.shadow for message in admin.sent if isinstance(message, Workers)][-1]


async def test_at_the_stop_the_shadow_ends_after_the_workers_and_admin_after_the_shadow() -> None:
    supervisor, admin, worker, shadow = shadowed()
    supervisor._terminate()
    assert not [message for message in (*shadow.sent, *admin.sent) if isinstance(message, Drain)]
    worker.exited = True
    supervisor._worker_exited(worker)
    assert isinstance(shadow.sent[-1], Drain)
    assert not isinstance(admin.sent[-1], Drain)
    shadow.exited = True
    supervisor._shadow_exited(shadow)
    assert isinstance(admin.sent[-1], Drain)


@pytest.mark.parametrize("shadowing", [True, False])
async def test_shadow_is_started_once_when_a_route_has_one(monkeypatch: pytest.MonkeyPatch, shadowing: bool) -> None:
    supervisor, admin, _ = serving()
    supervisor._slots = [WorkerSockets([], [])]
    started = asyncio.Event()
    starts: list[str] = []

    async def start() -> None:
        starts.append("shadow")
        started.set()

    monkeypatch.setattr(supervisor, "_start_shadow", start)
    supervisor._from_admin(admin, Publish(2, {}, shadowing=shadowing))
    assert starts == []  # the gateway does not serve yet
    supervisor._from_admin(admin, Ready())
    supervisor._from_admin(admin, Publish(3, {}, shadowing=shadowing))
    if shadowing:
        await asyncio.wait_for(started.wait(), PATIENCE)
    assert starts == ["shadow"] * shadowing
