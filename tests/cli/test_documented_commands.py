"""Commands as people copy them: from the documentation, the examples' comments and the pipelines. Each names what there is."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from admin.cli import app
from routing.document import read
from routing.load import load_text

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "examples" / "pipelines"
WORKFLOW = PIPELINES / "github-actions.yaml"
SCRIPTS = sorted((ROOT / "examples").rglob("*.sh"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROLLOUTS = (ROOT / "docs" / "rollouts.md").read_text()

_VARIABLE = re.compile(r"^[A-Z_]+=")
_IN_COMMENT = re.compile(r"^#\s{2,}(headgate \S+(?: \S+)*)", re.MULTILINE)


def commands(script: str) -> Iterator[list[str]]:
    """What the lines of a shell call `headgate` with."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        call: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("();<>|&"):
                if call and Path(call[0]).name == "headgate":
                    yield call[1:]
                call = []
            elif call or not (_VARIABLE.match(word) or word in ("{", "if", "then", "!")):
                call.append(word)


def fences(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def steps() -> list[dict[str, Any]]:
    tree: Any = read(WORKFLOW.read_text(), {}, "").tree
    found: list[dict[str, Any]] = tree["jobs"]["deploy"]["steps"]
    return found


def documented() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for block in fences(page, "sh"):
            yield from ((page.name, call) for call in commands(block))
    for path in (*sorted((ROOT / "examples").glob("*.yaml")), *SCRIPTS, WORKFLOW):
        for line in _IN_COMMENT.findall(path.read_text()):
            yield from ((path.name, call) for call in commands(line))
    for path in SCRIPTS:
        yield from ((path.name, call) for call in commands(path.read_text()))
    for step in steps():
        yield from ((WORKFLOW.name, call) for call in commands(step.get("run", "")))


CALLS = sorted({(where, tuple(call)) for where, call in documented()})


@pytest.mark.parametrize(("where", "call"), CALLS, ids=[f"{where}: {' '.join(call)}" for where, call in CALLS])
def test_each_command_names_what_there_is(where: str, call: tuple[str, ...]) -> None:
    group: Any = typer.main.get_command(app)
    context = group.make_context("headgate", list(call))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, rest, parent=context)  # raises UsageError


def test_commands_are_found_in_all_of_them() -> None:
    found = {where for where, _ in CALLS}
    assert {"README.md", "rollouts.md", "operations.md", "canary.yaml", "deploy.sh", WORKFLOW.name} <= found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_each_script_is_one_that_a_shell_takes(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_workflow_has_steps_that_a_runner_takes() -> None:
    tree: Any = read(WORKFLOW.read_text(), {}, "").tree
    assert tree["on"]["workflow_dispatch"]["inputs"].keys() == {"restore"}
    assert all(("run" in step) != ("uses" in step) for step in steps())
    (restore,) = (step for step in steps() if "restore shop" in step.get("run", ""))
    assert restore["if"] == "inputs.restore"
    (abort,) = (step for step in steps() if "rollout abort" in step.get("run", ""))
    assert abort["if"] == "cancelled()"


@pytest.mark.parametrize(
    "block", [block for block in fences(ROOT / "docs" / "rollouts.md", "yaml") if not block.startswith("freezes")]
)
def test_each_excerpt_about_rollouts_is_a_routes_own(block: str) -> None:
    upstreams = ", ".join(f"{name}: {{endpoints: ['http://127.0.0.1:1']}}" for name in ("blue", "green", "canary"))
    head = f"listen: [{{address: ':8080'}}]\nupstreams: {{{upstreams}}}\nroutes:\n  shop:\n    stable: blue\n"
    sticky = "" if "sticky:" in block else "    sticky: {client_ip: true}\n"
    route = load_text(head + sticky + block, {}).routes["shop"]
    assert route.rollout or route.flags


def test_every_example_with_a_rollout_is_in_the_documentation_and_the_other_way_round() -> None:
    linked = set(re.findall(r"\]\(\.\./(examples/[^)]+)\)", ROLLOUTS)) - {"examples/"}
    assert all((ROOT / path).is_file() for path in linked)
    with_rollout = {
        f"examples/{path.name}" for path in ROOT.glob("examples/*.yaml") if "rollout:\n" in path.read_text()
    }
    assert with_rollout <= linked
