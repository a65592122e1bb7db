"""tests/conftest.py: in CI a skip is a failure that names what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = """
import pytest

def test_in_the_body():
    pytest.skip("no teapot is installed")

@pytest.mark.skipif(True, reason="no kettle is installed")
def test_by_a_mark():
    pass

@pytest.fixture
def cup():
    pytest.skip("no cup is installed")

def test_by_a_fixture(cup):
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_to_fail():
    assert False
"""


@pytest.mark.parametrize(("ci", "outcome"), [("1", "1 failed, 1 xfailed, 2 errors"), ("", "3 skipped, 1 xfailed")])
def test_skip_is_a_failure_in_ci_and_names_what_is_missing(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    environ = {**os.environ, "HEADGATE_CI": ci, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert outcome in done.stdout
    for thing in ("teapot", "kettle", "cup"):
        assert f"no {thing} is installed" in done.stdout


def test_module_that_skips_itself_is_a_failure_in_ci(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module_anywhere')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)]
    environ = {**os.environ, "HEADGATE_CI": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no_such_module_anywhere" in done.stdout
