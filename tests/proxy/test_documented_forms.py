"""The table of dangerous forms in docs/http.md: each row names a test that exists, and paths are matched as they are forwarded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.proxy.fakes import Scene, request, status

ROOT = Path(__file__).parents[2]
SECTION = "## Ambiguous and dangerous forms"


def rows() -> list[str]:
    section = (ROOT / "docs" / "http.md").read_text().partition(SECTION)[2].partition("\n## ")[0].partition("\n\n|")[2]
    return section.partition("\n\n")[0].splitlines()[2:]


def test_each_form_names_a_test_that_exists() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = [re.findall(r"`(test_\w+)` \|$", row) for row in rows()]
    assert len(named) > 25
    assert [row for row, names in zip(rows(), named, strict=True) if len(names) != 1] == []
    assert [name for [name] in named if f"def {name}(" not in tests] == []


@pytest.mark.parametrize(
    ("target", "taken"),
    [
        (b"/admin/x", True),
        (b"/admin", True),
        (b"/admin/../x", True),
        (b"/admin//x?/a", True),
        (b"http://shop.example/admin", True),
        (b"/a/../admin", False),
        (b"//admin", False),
        (b"/%61dmin", False),
        (b"/admin%2fx", False),
        (b"/ADMIN", False),
    ],
)
def test_path_is_matched_as_it_is_forwarded(target: bytes, taken: bool) -> None:
    """RFC 9112 section 3.2.1. What normalises for the match and forwards what came lets a rule see another path."""
    scene = Scene(route={"match": {"path_prefix": "/admin"}})
    client = scene.client().send(request(target=target))
    if taken:
        assert scene.origin.head().start == f"GET {target.decode().removeprefix('http://shop.example')} HTTP/1.1"
    else:
        assert (status(client.received()), scene.dialled) == (404, [])
