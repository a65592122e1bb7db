"""`check`: every problem at once, each with its path and line; and the configurations that we show to people."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Headgate

ROOT = Path(__file__).parents[2]

BAD = """\
listen: [{address: 127.0.0.1:0}]
upstreams:
  blue: {endpoints: [http://127.0.0.1:1]}
  canary: {endpoints: [http://127.0.0.1:2], hots: preserve}
routes:
  shop:
    stable: blue
    weights: {blue: 1, canry: 3}
    rules:
      - {when: {header: {x: {regex: "("}}}, send: canary}
"""


def test_check_of_a_bad_file_names_every_problem_with_its_line(headgate: Headgate, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    result = headgate("check", str(path))
    lines = result.out.splitlines()
    assert result.code == 1
    assert [line.split(": ")[:3] for line in lines[:-1]] == [
        [f"{path}:4", "error", "upstreams.canary.hots"],
        [f"{path}:8", "error", "routes.shop.weights.canry"],
        [f"{path}:10", "error", "routes.shop.rules[0].when.header.x.regex"],
    ]
    assert "canary" in lines[1].partition("canry")[2]
    assert lines[-1] == f"{path}: not valid: 3 problems"


def test_check_of_a_bad_file_with_json_gives_paths_and_lines(headgate: Headgate, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    result = headgate("check", "--json", str(path))
    answer = json.loads(result.out)
    assert result.code == 1
    assert (answer["valid"], answer["warnings"]) == (False, [])
    assert [(problem["path"], problem["line"]) for problem in answer["problems"]] == [
        ("upstreams.canary.hots", 4),
        ("routes.shop.weights.canry", 8),
        ("routes.shop.rules[0].when.header.x.regex", 10),
    ]


def test_check_of_a_file_that_is_not_there_is_1(headgate: Headgate) -> None:
    result = headgate("check", "nowhere.yaml")
    assert result.code == 1
    assert "cannot read nowhere.yaml: No such file or directory" in result.out


def test_check_of_a_flag_past_its_date_warns_and_is_0(headgate: Headgate, tmp_path: Path) -> None:
    path = tmp_path / "flag.yaml"
    flag = "    flags: {old: {percent: 10, expires: 2020-01-31, ticket: SHOP-1}}\n"
    path.write_text(
        "listen: [{address: 127.0.0.1:0}]\nupstreams: {blue: {endpoints: [http://127.0.0.1:1]}}\n"
        f"routes:\n  shop:\n    stable: blue\n{flag}"
    )
    result = headgate("check", str(path))
    assert result.code == 0
    assert result.out.startswith(f"{path}:6: warning: routes.shop.flags.old.expires: ")
    assert result.out.endswith(f"{path}: valid: 1 route, 1 upstream\n")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_check_of_each_example_finds_nothing(headgate: Headgate, path: Path) -> None:
    result = headgate("check", str(path))
    assert (result.code, result.out.count("\n")) == (0, 1), result.out


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_check_of_each_whole_configuration_in_the_documentation_finds_nothing(
    headgate: Headgate, tmp_path: Path, page: Path
) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    whole = [block for block in blocks if all(re.search(f"^{key}:", block, re.M) for key in ("listen", "routes"))]
    if page.name == "README.md":
        assert whole
    for number, block in enumerate(whole):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        result = headgate("check", str(path))
        assert result.code == 0, result.out


def test_check_of_a_maintenance_page_that_cannot_be_read_is_1(headgate: Headgate, tmp_path: Path) -> None:
    path, page = tmp_path / "page.yaml", tmp_path / "page.html"
    path.write_text(
        "listen: [{address: 127.0.0.1:0}]\nupstreams: {blue: {endpoints: [http://127.0.0.1:1]}}\n"
        f"routes:\n  shop:\n    stable: blue\n    maintenance: {{file: {page}}}\n"
    )
    result = headgate("check", str(path))
    assert result.code == 1
    problem = f"{path}:6: error: routes.shop.maintenance.file: cannot read {page}: No such file or directory"
    assert result.out.splitlines() == [problem, f"{path}: not valid: 1 problem"]
    page.write_text("<p>soon</p>")
    assert headgate("check", str(path)).code == 0
