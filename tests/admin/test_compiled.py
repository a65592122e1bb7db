"""The compiled form of the workers' code never stands in for other sources than those it was made from."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from admin import compiled


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which nothing is compiled."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("HEADGATE_COMPILED", raising=False)
    return tmp_path / "lib" / "headgate-compiled"


def test_sources_that_were_not_compiled_have_no_compiled_form(home: Path) -> None:
    assert compiled.compiled_path() is None


def test_compiled_form_is_found_by_the_hash_of_its_sources(home: Path) -> None:
    other, own = home / "0123456789abcdef", home / compiled.fingerprint()
    other.mkdir(parents=True)
    assert compiled.compiled_path() is None
    own.mkdir()
    assert compiled.compiled_path() == own


def test_compiled_form_can_be_turned_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / compiled.fingerprint()).mkdir(parents=True)
    monkeypatch.setenv("HEADGATE_COMPILED", "0")
    assert compiled.compiled_path() is None


def test_fingerprint_is_of_the_sources_alone(tmp_path: Path) -> None:
    root = Path(compiled.__file__).parents[1]
    same, changed = tmp_path / "same", tmp_path / "changed"
    for copy in (same, changed):
        for package in compiled.PACKAGES:
            shutil.copytree(root / package, copy / package)
    source = changed / "routing" / "match.py"
    source.write_text(source.read_text() + "\n")
    assert compiled.fingerprint(same) == compiled.fingerprint(root) != compiled.fingerprint(changed)


def test_every_module_to_be_compiled_exists() -> None:
    root = Path(compiled.__file__).parents[1]
    assert [module for module in compiled.MODULES if not (root / module).is_file()] == []


def test_build_without_a_compiler_says_so_and_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert compiled.build(str(home.parents[1])) == "there is no C compiler"
    assert not home.exists()
