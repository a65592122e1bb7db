from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from admin.cli import main
from tests.cli.fake_admin import TOKEN, FakeAdmin


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str


Headgate = Callable[..., Result]


@pytest.fixture
def admin() -> Iterator[FakeAdmin]:
    fake = FakeAdmin()
    server = fake.serving()
    yield fake
    server.shutdown()
    server.server_close()


@pytest.fixture
def state(admin: FakeAdmin, tmp_path: Path) -> Path:
    """A state folder as the gateway leaves it."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "admin.url").write_text(f"{admin.url}\n")
    (folder / "admin.token").write_text(f"{TOKEN}\n")
    return folder


@pytest.fixture
def headgate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Headgate:
    """Runs the command in this process, in an empty folder and without HEADGATE_* in the environment."""
    for name in ("HEADGATE_ADMIN", "HEADGATE_TOKEN", "HEADGATE_STATE"):
        monkeypatch.delenv(name, raising=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["headgate", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return Result(code if isinstance(code, int) else 0, out, err)

    return run
