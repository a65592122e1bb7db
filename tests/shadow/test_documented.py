"""docs/shadowing.md names every reason, kind and outcome that there is, and the bounds that hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy import capture
from proxy.capture_frames import Drop
from routing.config import Shadow
from routing.load import load_text
from shadow import call, comparisons, content, differ, differs, endpoint_state, evidence, mirror, walk, window
from shadow.judging import PROFILE
from shadow.templates import Templates
from shadow.verdict import Kind, Reason

PAGE = (Path(__file__).parents[2] / "docs" / "shadowing.md").read_text()
MIB = 1024 * 1024


def rows(before: str) -> list[str]:
    """The names in the first column of the table behind that text."""
    table = PAGE[PAGE.index(before) + len(before) :].lstrip("\n").partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_every_reason_to_drop_has_a_row() -> None:
    assert rows("`headgate_shadow_dropped_total`):") == [drop.value for drop in Drop]


def test_every_reason_for_no_verdict_has_a_row() -> None:
    assert rows("They count as `unknown`, never as equal:") == [reason.value for reason in Reason]


def test_every_kind_of_difference_has_a_row() -> None:
    assert rows("share one (`$.stock.*`). Kinds:") == [*(kind.value for kind in Kind), PROFILE]


def test_every_outcome_of_a_copy_is_named() -> None:
    (line,) = re.findall(r"^`headgate_shadow_requests_total` .*$", PAGE, re.MULTILINE)
    outcomes = (call.OK, call.TIMEOUT, call.CONNECT, call.RESET, call.BAD_RESPONSE, call.TOO_LARGE, call.QUEUE_FULL)
    assert re.findall(r"`(\w+)`", line)[1:] == list(outcomes)


SHADOW = Shadow.model_validate({"upstream": "next"})


@pytest.mark.parametrize(
    "said",
    [
        f"| {window.FIRST:.0f} at first, up to {window.MOST:.0f} while",
        f"at most once in {window.HOLD_SECONDS} s; at one there is a pause, {window.FIRST_PAUSE} s to {window.LONGEST_PAUSE:.0f} s",
        f"| {capture.MAX_HELD // MIB} MiB; {capture.MAX_UNSENT // MIB} MiB |",
        f"by the shadow process | {mirror.MAX_HELD // MIB} MiB |",
        f"| `max_body` each, {SHADOW.max_body // 1024} KiB |",
        f"| `timeout`, {SHADOW.timeout:.0f} s |",
        f"wait for a differ | {differs.MOST_JOBS}, {differs.MOST_BYTES // MIB} MiB |",
        f"| {differ.DEADLINE_SECONDS} s of a differ's processor time; one that is stuck for {differs.CPU_SECONDS} s, or for "
        f"{differs.WALL_SECONDS:.0f} s of any time",
        f"| {differ.MOST_MEMORY // MIB} MiB more",
        f"| {Templates().most}, {endpoint_state.Room().fields:,}; the rest",
        f"at most {comparisons.A_SECOND:.0f} a second and {comparisons.AT_A_TIME} at a time",
        f"at most), up to {content.MOST_BYTES // MIB} MiB",
        f"more than {walk.MOST_DEEP} levels deep",
        f"(e-BH, α = {100 * evidence.ALPHA:g} %)",
        f"in more than {100 * endpoint_state.VERY_NOISY:.0f} % of",
    ],
)
def test_bounds_are_as_they_are_said_to_be(said: str) -> None:
    assert said in PAGE


@pytest.mark.parametrize(("fields", "enough"), [(1, 7), (5, 10), (50, 13)])
def test_so_many_differences_are_enough(fields: int, enough: int) -> None:
    steady = evidence.Evidence()
    for _ in range(enough):
        steady.shadow_was_odd()
    assert steady.value >= evidence.needed(fields)
    assert re.search(rf"\b{enough} (differences are enough|if there are)", PAGE)


def test_the_first_configuration_is_one() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    around = (
        "listen: [{address: 127.0.0.1:0}]\nupstreams: {blue: {endpoints: [http://a]}, next: {endpoints: [http://b]}}\n"
    )
    config = load_text(around + blocks[0], {})
    assert config.routes["shop"].shadow is not None
    inside = blocks[0] + "      " + blocks[1]
    assert load_text(around + inside, {"SHADOW_TOKEN": "t"}).routes["shop"].shadow is not None
