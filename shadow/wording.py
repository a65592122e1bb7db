"""Why a field is a finding, noise, or still watched: plain sentences with the numbers in them."""

from __future__ import annotations

from shadow.endpoint_state import EndpointState
from shadow.evidence import needed
from shadow.field_state import FieldState
from shadow.learned_profile import OUT_OF_RANGE

STATUS_IS_NOISE = (
    "stable answers the same request with another status when it is asked again: does it need a header that is not sent "
    "on, such as authorization?"
)
_LEVELS = (0.001, 0.01)


def sureness(value: float, hypotheses: int, alpha: float) -> str:
    """At the highest usual level at which it would be a finding whatever the others were; a finding always is at 1 - alpha."""
    level = next((level for level in _LEVELS if value >= needed(hypotheses, level)), alpha)
    return f"sure at {percent(1.0 - min(level, alpha))}"


def finding(state: EndpointState, field: FieldState, rate: float, noise: float | None, sure: str) -> str:
    return f"differs in {percent(rate)} of {state.pairs:,} pairs, {_against(state, field, noise)}; {sure}"


def strange(state: EndpointState, field: FieldState, sure: str) -> str:
    """A finding inside a field that is always noisy."""
    what = max(field.strange, key=lambda kind: field.strange[kind], default="")
    rate = percent(state.rate(field.strange.get(what, 0)))
    profile = field.profile
    if what == OUT_OF_RANGE:
        said = f"outside the range of stable's, {_number(profile.low)} to {_number(profile.high)}, in {rate}"
    else:
        before = profile.count(what)
        share = "never before" if not before else f"in {percent(before / profile.seen)} of the values of stable"
        said = f"{what} in {rate}, {share}"
    return f"{said} ({state.pairs:,} pairs); {sure}"


def explained(state: EndpointState, field: FieldState, rate: float, noise: float, by_profile: bool) -> str:
    if not by_profile:
        return (
            f"differs in {percent(rate)} of {state.pairs:,} pairs, and about as often ({percent(noise)}) between two answers "
            "of stable"
        )
    usual = max(field.profile.classes, key=lambda kind: field.profile.classes[kind], default="")
    of = f", mostly {usual}" if usual else ""
    return f"differs as often between two answers of stable ({percent(noise)}); judged by what its values look like{of}"


def watched(state: EndpointState, field: FieldState, rate: float, value: float, needed: float) -> str:
    said = f"differs in {percent(rate)} of {state.pairs:,} pairs, {_against(state, field, state.noise(field))}"
    if state.noise(field) is None:
        return said
    return f"{said}; not sure yet (evidence {value:,.3g} of {needed:,.0f})"


def _against(state: EndpointState, field: FieldState, noise: float | None) -> str:
    if noise is None:
        return "and stable was never asked twice, so nobody can say whose doing it is"
    asked = state.thirds if state.asked_always or not field.asked else field.asked
    return f"in {percent(noise)} between two answers of stable ({asked:,} asked)"


def percent(share: float) -> str:
    value = 100.0 * share
    if value in (0.0, 100.0):
        return f"{value:.0f} %"
    if value < 0.1:
        return f"{value:.2g} %"
    return f"{value:.1f} %" if value <= 99.9 else f"{value:.2f} %"


def _number(value: float) -> str:
    return f"{value:,.6g}"
