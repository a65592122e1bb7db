"""The command as a whole: names, help, versions."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from admin.cli import COMMANDS
from tests.cli.conftest import Headgate


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_is_there(headgate: Headgate, command: str) -> None:
    result = headgate(command, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: headgate {command} ")


def test_help_lists_every_command(headgate: Headgate) -> None:
    result = headgate("--help")
    listed = [line.split()[0] for line in result.out.partition("Commands:\n")[2].splitlines()]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize(
    ("typed", "said"),
    [("cutbak", "no command 'cutbak'; did you mean cutback?"), ("zzz", "no command 'zzz'"), ("--cutback", "--cutback")],
)
def test_unknown_command_is_a_usage_error_with_a_suggestion(headgate: Headgate, typed: str, said: str) -> None:
    result = headgate(typed)
    assert result.code == 2
    assert said in result.err


def test_no_command_at_all_is_a_usage_error_that_helps(headgate: Headgate) -> None:
    result = headgate()
    assert result.code == 2
    assert "cutback" in result.out + result.err


def test_version_is_that_of_the_distribution(headgate: Headgate) -> None:
    assert headgate("version").out == headgate("--version").out == f"headgate {version('headgate')}\n"
    assert json.loads(headgate("version", "--json").out) == {"version": version("headgate")}
