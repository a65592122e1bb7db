"""What a command imports: `headgate cutback` has to answer fast on a slow machine. Counted by module, not by clock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.fake_admin import RECEIPT, FakeAdmin, route

HEAVY = {"pydantic", "rich", "aiohttp", "sqlalchemy", "alembic", "ruamel", "structlog", "prometheus_client", "uvloop"}
OURS = {"routing", "proxy", "shadow"}
# With 3.11 and typer 0.29 it was 223; a new import of some weight shows here.
MOST = 260

WEIGHTS = {"blue": 90, "canary": 10}
CHANGED = {"revision": 8, "weights": WEIGHTS, "effective": WEIGHTS, "cutback": None, "receipt": RECEIPT}

REPORT = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from admin.cli import main
main()
"""


def modules(*arguments: str) -> set[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("HEADGATE_", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments],
        cwd=Path(__file__).parents[2],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [("cutback", "shop"), ("restore", "shop"), ("weights", "shop", "canary=10")])
def test_command_that_moves_traffic_imports_nothing_heavy(
    admin: FakeAdmin, state: Path, arguments: tuple[str, ...]
) -> None:
    admin.answers = {
        "GET /v1/routes/shop": (200, route()),
        "PUT /v1/routes/shop/weights": (200, CHANGED),
        "POST /v1/routes/shop/cutback": (200, CHANGED),
        "DELETE /v1/routes/shop/cutback": (200, CHANGED),
    }
    loaded = modules(*arguments, "--state", str(state))
    assert {name.partition(".")[0] for name in loaded} & (HEAVY | OURS) == set()
    assert len(loaded) <= MOST


def test_command_imports_no_other_command(admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /health/ready": (200, {"status": "ok"})}
    ours = {name for name in modules("health", "--state", str(state)) if name.startswith("admin.")}
    assert ours == {
        "admin.cli", "admin.client", "admin.errors", "admin.commands",
        "admin.commands.options", "admin.commands.quick", "admin.commands.health",
    }  # fmt: skip


def test_status_off_a_terminal_draws_without_rich(admin: FakeAdmin, state: Path) -> None:
    admin.answers = {"GET /v1/audit": (200, {"entries": [], "next": None})}
    assert "rich" not in modules("audit", "--state", str(state))
