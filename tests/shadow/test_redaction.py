"""Nothing on the list is shown, wherever it stands; what is shown is short."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.config import REDACTED_HEADERS, REDACTED_PATHS
from routing.shadowing import Comparing, Redacting
from shadow.answer import Answer
from shadow.profile import ABSENT
from shadow.redaction import MOST_SHOWN, redact_text, redactor
from shadow.verdict import Compared
from tests.shadow.samples import DOCUMENTS, answer, compare

DEFAULT = Redacting(REDACTED_HEADERS, REDACTED_PATHS)
SECRET = "hunter2"


def shown(compared: Compared) -> str:
    assert compared.reason == ""
    assert compared.shadow
    return " ".join(f"{difference.primary} {difference.other}" for difference in compared.shadow)


HIDING: list[tuple[str, Answer, Answer]] = [
    ("value", answer({"password": SECRET}), answer({"password": "x"})),
    ("name in another case", answer({"a": {"passWord": SECRET}}), answer({"a": {"passWord": 1}})),
    ("below it", answer({"token": {"value": SECRET}}), answer({"token": {"value": 1}})),
    ("inside of what is missing", answer({"user": {"id": 1, "token": SECRET}}), answer({})),
    ("inside of lists", answer({"l": [[{"token": SECRET}]]}), answer({"l": 1})),
    ("inside of what moved", answer([{"token": SECRET}, 1]), answer([1, {"token": SECRET}])),
    ("in a URL", answer({"next": f"/a?page=2&token={SECRET}"}), answer({"next": "/a"})),
    ("in a header", answer(1, lines=(b"Location: /?access_token=hunter2",)), answer(1)),
    ("in text", answer(b'{"password": "hunter2", broken'), answer(b"{}x")),
    ("in escaped text", answer({"log": '{\\"password\\": \\"hunter2\\"}'}), answer({"log": 1})),
    ("authorization", answer(b"authorization: Bearer hunter2", b"text/plain"), answer(b"x", b"text/plain")),
    ("an address as a name", answer({"l": {"hunter2@example.com": 1}}), answer({"l": 1})),
    ("an address in a text", answer({"log": "mail to hunter2@example.com now"}), answer({"log": ""})),
    ("JSON beside text", answer({"password": SECRET}), answer(b"no", b"text/plain")),
]


@pytest.mark.parametrize(("primary", "shadow"), [case[1:] for case in HIDING], ids=[case[0] for case in HIDING])
def test_what_is_on_the_list_is_not_shown(primary: Answer, shadow: Answer) -> None:
    comparing = Comparing(headers=("location",))
    bare = compare(primary, shadow, comparing, Redacting())
    assert "hunter2" in shown(bare) or b"@example.com" in primary.body
    told = shown(compare(primary, shadow, comparing, DEFAULT))
    assert "hunter2" not in told
    assert "***" in told


def test_header_on_the_list_is_hidden_whole() -> None:
    one, two = answer(1, lines=(b"Set-Cookie: sid=1",)), answer(1, lines=(b"Set-Cookie: sid=2",))
    (difference,) = compare(one, two, Comparing(headers=("set-cookie",)), DEFAULT).shadow
    assert (difference.field, difference.primary, difference.other) == ("header:set-cookie", "***", "***")


def test_hidden_value_still_has_its_class_but_no_number_since_ranges_are_kept_and_shown() -> None:
    (difference,) = compare({"iban": 12345}, {"iban": None}, redacting=DEFAULT).shadow
    assert (difference.primary, difference.other) == ("***", "***")
    assert (difference.primary_class, difference.other_class, difference.primary_number) == ("int", "null", None)


def test_other_values_are_shown() -> None:
    told = shown(compare({"user": {"id": 7, "token": SECRET, "tokens": 3}}, {}, redacting=DEFAULT))
    assert told.strip() == '{"id":7,"token":"***","tokens":3}'


@pytest.mark.parametrize(
    ("target", "stored"),
    [
        ("/orders?page=2&token=abc&sort=x", "/orders?page=2&token=***&sort=x"),
        ("/orders?Email=bob", "/orders?Email=***"),
        ("/users/bob@example.com/orders", "/users/***/orders"),
        ("/users/bob%40example.com?x=1", "/users/***?x=1"),
        ("/orders?mytoken=abc", "/orders?mytoken=abc"),
        ("/orders/17", "/orders/17"),
    ],
)
def test_request_target_as_it_is_stored(target: str, stored: str) -> None:
    assert redact_text(target, DEFAULT) == stored


@given(DOCUMENTS | st.text(max_size=5000))
def test_shown_value_is_short_and_json_where_it_is_not_cut(value: object) -> None:
    text = redactor(DEFAULT).value(value, ())
    assert len(text) <= MOST_SHOWN
    if not text.endswith("…"):
        orjson.loads(text)


def test_deep_value_is_shown_in_part() -> None:
    value: object = SECRET
    for _ in range(200):
        value = [value]
    assert len(redactor(DEFAULT).value(value, ())) <= MOST_SHOWN


def test_absent_value_is_shown_as_nothing() -> None:
    assert redactor(DEFAULT).value(ABSENT, ("password",)) == ""
