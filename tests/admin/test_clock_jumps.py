"""The wall clock is for stamps: whatever becomes of it, no child is blamed for it and no wait is longer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from admin.child import SILENCE_SECONDS
from admin.jwks import Keys, source_of
from admin.logs import Logger
from admin.oidc import NotOursError, Provider
from admin.supervisor import Supervisor
from routing.config_admin import Oidc, OidcRoles
from tests.admin.test_notify import Lines
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


async def test_refused_tokens_are_still_logged_after_a_clock_that_was_ahead_is_put_right() -> None:
    lines = Lines()
    log: Logger = lines  # type: ignore[assignment]
    oidc = Oidc(issuer="https://idp.example.com", audience=("headgate",), jwks="keys.json", roles=OidcRoles())
    wall = [time.time() + YEAR]
    provider = Provider(oidc, Keys(source_of(oidc.jwks), log, time.monotonic), log, lambda: wall[0])
    for said in (1, 2):
        with pytest.raises(NotOursError):
            await provider.principal("no.header.here")
        assert len(lines.warnings) == said
        wall[0] -= YEAR
