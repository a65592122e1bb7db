"""What one pair proves about a field, and what it does not."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from shadow.endpoint_state import EndpointState, Room
from shadow.field_state import FieldState
from shadow.learned_profile import LEARNED, MOST_CLASSES, OTHER_CLASS, OUT_OF_RANGE, LearnedProfile
from shadow.verdict import Third
from tests.shadow.pairs import compared, difference

FIELD = "$.price"


def odd(x: bool, y: bool, between: bool, third: Third) -> tuple[int, int]:
    """(shadow odd, stable odd) after one pair in which the field differs so."""
    state = FieldState(FIELD, 0.0)
    found = [difference(FIELD)]
    state.record(found if x else [], found if y else [], between, third, 1.0)
    return state.raw_evidence.shadow_odd, state.raw_evidence.stable_odd


@pytest.mark.parametrize(
    ("third", "x", "y", "between", "expected"),
    [
        (Third.CONTROL, True, False, True, (1, 0)),
        (Third.CONTROL, False, True, True, (0, 1)),
        (Third.CONTROL, True, True, False, (0, 0)),
        (Third.SAMPLED, True, False, True, (1, 0)),
        (Third.SAMPLED, False, True, True, (0, 1)),
        (Third.TRIGGERED, True, False, True, (1, 0)),
        (Third.TRIGGERED, True, True, False, (0, 1)),
        (Third.TRIGGERED, True, True, True, (0, 0)),
        (Third.TRIGGERED, True, False, False, (0, 0)),
        (Third.TRIGGERED, False, True, True, (0, 0)),
        (Third.NONE, True, False, False, (0, 0)),
    ],
)
def test_evidence_of_one_pair(third: Third, x: bool, y: bool, between: bool, expected: tuple[int, int]) -> None:
    assert odd(x, y, between, third) == expected


@pytest.mark.parametrize("tolerance", [0, 1])
@pytest.mark.parametrize("third", [Third.CONTROL, Third.SAMPLED, Third.TRIGGERED])
def test_no_order_of_three_exchangeable_answers_is_favoured(third: Third, tolerance: int) -> None:
    for values in product(range(4), repeat=3):
        events = []
        for primary, shadow, other in permutations(values):
            x, y = abs(primary - shadow) > tolerance, abs(primary - other) > tolerance
            if x or (y and third is not Third.TRIGGERED):
                events.append(odd(x, y, abs(shadow - other) > tolerance, third))
        assert sum(event[0] for event in events) == sum(event[1] for event in events), values


def test_profile_knows_nothing_strange_before_it_has_learned() -> None:
    profile = LearnedProfile()
    for _ in range(LEARNED - 1):
        profile.learn("uuid", None)
    assert profile.strange("null", None) == ""
    profile.learn("uuid", None)
    assert profile.strange("null", None) == "null"
    assert profile.strange("uuid", None) == ""


def test_class_with_a_twentieth_of_the_values_is_not_strange() -> None:
    profile = LearnedProfile()
    for count in range(1000):
        profile.learn("null" if count % 20 == 0 else "uuid", None)
    assert profile.strange("null", None) == ""
    profile.learn("uuid", None)
    assert profile.strange("null", None) == "null"


@pytest.mark.parametrize(
    ("number", "strange"), [(-10.0, ""), (-10.1, OUT_OF_RANGE), (110.0, ""), (110.1, OUT_OF_RANGE)]
)
def test_number_is_strange_a_tenth_of_the_range_outside(number: float, strange: str) -> None:
    profile = LearnedProfile()
    for value in range(101):
        profile.learn("float", float(value))
    assert profile.strange("float", number) == strange


def test_profile_has_a_bounded_number_of_classes() -> None:
    profile = LearnedProfile()
    for value in range(1000):
        profile.learn(f"text {value}", None)
    assert len(profile.classes) == MOST_CLASSES + 1
    assert profile.classes[OTHER_CLASS] == 1000 - MOST_CLASSES
    assert profile.strange("text 5000", None) == ""
    assert LearnedProfile.from_json(profile.to_json()).to_json() == profile.to_json()


def test_strange_values_of_the_shadow_alone_are_evidence_of_the_profile() -> None:
    state = FieldState(FIELD, 0.0)
    for value in range(LEARNED):
        state.record([difference(FIELD, f"word{value}x", "other")], [], False, Third.NONE, 1.0)
    assert state.record([difference(FIELD, "word", None)], [], False, Third.NONE, 2.0) is not None
    assert (state.profile_evidence.shadow_odd, state.profile_evidence.stable_odd) == (1, 0)
    assert state.record([difference(FIELD, None, "word")], [], False, Third.NONE, 3.0) is None
    assert (state.profile_evidence.shadow_odd, state.profile_evidence.stable_odd) == (1, 1)
    assert state.strange == {"null": 1}
    assert (state.odd_first_seen, state.odd_last_seen) == (2.0, 2.0)


def test_one_strange_value_among_many_places_of_a_field_is_seen() -> None:
    state = FieldState(FIELD, 0.0)
    for _ in range(LEARNED):
        state.record([difference(FIELD, "word", "other")], [], False, Third.NONE, 1.0)
    places = [difference(FIELD, "word", "other"), difference(FIELD, "word", None)]
    found = state.record(places, [], False, Third.NONE, 2.0)
    assert found is not None
    assert found.other == "None"


def test_status_that_differs_is_all_that_a_pair_says() -> None:
    state = EndpointState(Room())
    state.record(compared(["status", "body"], ["body"], ["status", "body"]), Third.CONTROL, 1.0)
    known = {field.name: field for field in state.fields}
    assert known["status"].raw_evidence.shadow_odd == 1
    assert known["body"].differs == 0
    assert known["body"].raw_evidence.stable_odd == 0


def test_status_of_stable_that_differs_says_nothing_of_other_fields() -> None:
    state = EndpointState(Room())
    state.record(compared(["$.id"], ["status"], ["status"]), Third.CONTROL, 1.0)
    known = {field.name: field for field in state.fields}
    assert known["status"].raw_evidence.stable_odd == 1
    assert known["$.id"].differs == 1
    assert known["$.id"].raw_evidence.shadow_odd == 0


def control(pairs: int, of: int, noise: int) -> EndpointState:
    """So many pairs differ of `of`, and so many second answers of stable."""
    state = EndpointState(Room())
    for pair in range(of):
        shadow, third = [FIELD] * (pair < pairs), [FIELD] * (pair >= of - noise)
        state.record(compared(shadow, third, [FIELD]), Third.CONTROL, 1.0)
    return state


@pytest.mark.parametrize(
    ("of", "noise", "noisy"), [(8, 8, True), (7, 7, False), (19, 18, False), (20, 7, True), (20, 6, False)]
)
def test_field_is_noisy_where_enough_answers_of_stable_differ(of: int, noise: int, noisy: bool) -> None:
    state = control(of, of, noise)
    assert state.noisy(state.fields[0]) is noisy


def test_noise_is_a_share_of_all_pairs_where_stable_is_asked_about_differences_alone() -> None:
    state = EndpointState(Room())
    state.equal = 80
    for pair in range(20):  # noise of 20 % that the shadow shares: each is the odd one as often
        shape = (["$.a"], [], ["$.a"]) if pair % 2 else (["$.a"], ["$.a"], [])
        state.record(compared(*shape), Third.TRIGGERED, 1.0)
    field = state.fields[0]
    assert state.rate(field.differs) == pytest.approx(0.2)
    assert state.noise(field) == pytest.approx(0.2)


def test_pairs_that_nobody_had_time_for_scale_the_rate() -> None:
    state = EndpointState(Room())
    state.equal, state.missed = 80, 10
    for pair in range(10):
        state.record(compared(["$.a"] if pair < 5 else ["$.b"]), Third.NONE, 1.0)
    assert state.rate(5) == pytest.approx(0.1)
