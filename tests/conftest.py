"""For all tests: in CI nothing may be skipped, a failure shows what the gateways wrote, and speed is no property."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.stage import GATEWAYS, Stage

LOG_LINES = 60

# Other tests run at the same time, so an example takes as long as they let it.
settings.register_profile("headgate", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headgate")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With HEADGATE_CI=1 a skip is a failure that names what is missing."""
    if report.outcome == "skipped" and os.environ.get("HEADGATE_CI") == "1" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"not to be skipped with HEADGATE_CI=1: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    if report.failed:
        for gateway in GATEWAYS:
            report.sections.append((f"log of {gateway.folder.name}", "\n".join(gateway.lines[-LOG_LINES:])))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """For what a test changes, kills or times: its own gateway."""
    with Stage(tmp_path_factory.mktemp("stage")) as own:
        yield own


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """For what all tests of a module may look at."""
    with Stage(tmp_path_factory.mktemp("shared")) as own:
        yield own
