"""The pages of routes under maintenance: what is refused, and what becomes of the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from routing.compile import compile_snapshot
from routing.config import Config
from routing.document import ConfigError
from routing.load import load_tree
from routing.pages import MOST_BYTES, read_pages

SECRET = b"s" * 32


def config_of(maintenance: dict[str, Any]) -> Config:
    return load_tree(
        {
            "listen": [{"address": "127.0.0.1:8080"}],
            "upstreams": {"blue": {"endpoints": ["http://127.0.0.1:1"]}},
            "routes": {"shop": {"stable": "blue", "maintenance": maintenance}},
        }
    )


@pytest.mark.parametrize(
    ("maintenance", "why"),
    [
        ({}, "routes.shop.maintenance: needs body or file"),
        ({"body": "x", "file": "y"}, "routes.shop.maintenance: body and file exclude each other: give one"),
        ({"body": "x" * (MOST_BYTES + 1)}, "routes.shop.maintenance.body: is larger than 64 KiB"),
        (
            {"body": "x", "content_type": "a\r\nb: c"},
            "routes.shop.maintenance.content_type: is not what a field can hold",
        ),
        ({"body": "x", "content_type": ""}, "routes.shop.maintenance.content_type: is not what a field can hold"),
        ({"body": "x", "status": 200}, "routes.shop.maintenance.status: "),
        ({"body": "x", "retry_after": 0}, "routes.shop.maintenance.retry_after: "),
    ],
)
def test_maintenance_that_contradicts_itself_is_refused(maintenance: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError) as error:
        config_of(maintenance)
    assert any(str(problem).startswith(why) for problem in error.value.problems), error.value.problems


def test_body_of_just_the_size_is_taken() -> None:
    assert config_of({"body": "x" * MOST_BYTES}).routes["shop"].maintenance is not None


def test_page_of_a_file_is_what_is_answered(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(b"\xff<p>x" + b"x" * (MOST_BYTES - 5))
    config = config_of({"file": str(page), "retry_after": "1500ms"})
    pages, wrong = read_pages(config)
    assert wrong == []
    maintenance = compile_snapshot(config, revision=1, secret=SECRET, pages=pages).routes[0].maintenance
    assert maintenance is not None
    assert (maintenance.body, maintenance.retry_after, maintenance.status) == (page.read_bytes(), 2, 503)


def test_route_whose_page_was_not_read_has_none(tmp_path: Path) -> None:
    config = config_of({"file": str(tmp_path / "gone")})
    assert compile_snapshot(config, revision=1, secret=SECRET).routes[0].maintenance is None


@pytest.mark.parametrize("kind", ["gone", "folder", "pipe", "large"])
def test_file_that_is_no_page_is_told_by_its_place(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "large":
        path.write_bytes(b"x" * (MOST_BYTES + 1))
    pages, [problem] = read_pages(config_of({"file": str(path)}))
    why = {
        "gone": f"cannot read {path}: No such file or directory",
        "folder": f"cannot read {path}: Is a directory",
        "pipe": f"cannot read {path}: not a file",
        "large": f"{path} is larger than 64 KiB",
    }
    assert pages == {}
    assert (problem.path, problem.message) == ("routes.shop.maintenance.file", why[kind])
