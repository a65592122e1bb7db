"""The faults of `make chaos`, each once: nothing fails but what was in flight on what was killed, and no body is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.__main__ import play
from tests.chaos.faults import FAULTS, Excuse, Fault
from tests.chaos.load import Failure
from tests.chaos.scene import Scene

CLIENTS = 8


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Scene(tmp_path_factory.mktemp("chaos"), CLIENTS) as scene:
        yield scene


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_costs_no_request_but_those_in_flight_on_it(scene: Scene, fault: Fault) -> None:
    outcome = play(scene, fault, 0.0)
    assert outcome.failed == {}
    assert outcome.answered >= 100


@pytest.mark.parametrize(
    ("failure", "excused"),
    [
        (Failure(1.0, 3.0, "broken"), True),
        (Failure(2.5, 3.0, "broken"), False),
        (Failure(0.0, 0.9, "broken"), False),
        (Failure(1.0, 3.0, "wrong body"), False),
        (Failure(1.0, 3.0, "503"), False),
    ],
)
def test_excuse_covers_what_was_in_flight_and_nothing_else(failure: Failure, excused: bool) -> None:
    assert Excuse(1.0, 2.0).covers(failure) is excused
