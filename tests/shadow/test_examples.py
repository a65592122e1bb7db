"""What an example keeps of a request: enough to send it again by hand, and nothing that is nobody's business."""

from __future__ import annotations

import pytest

from routing.config import REDACTED_HEADERS, REDACTED_PATHS
from routing.shadowing import Redacting
from shadow.answer import Answer
from shadow.examples import PairFacts

DEFAULT = Redacting(REDACTED_HEADERS, REDACTED_PATHS)


def stored(target: bytes, head: bytes = b"") -> dict[str, object]:
    answer = Answer(200, [], b"{}", 0.01)
    return PairFacts(b"GET", target, head, answer, answer, DEFAULT).to_json()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/orders/17?page=2", "/orders/17?page=2"),
        (b"/users/ann@example.com/orders", "/users/***/orders"),
        (b"/find?email=ann%40example.com&page=2", "/find?email=***&page=2"),
        (b"/find?phone=555-0100&page=2", "/find?phone=***&page=2"),
        (b"/in?my_session=abc", "/in?my_session=\N{HORIZONTAL ELLIPSIS}"),
    ],
)
def test_path_of_an_example_hides_what_is_to_be_redacted(target: bytes, path: str) -> None:
    assert stored(target)["path"] == path


def test_path_of_an_example_is_bounded() -> None:
    assert len(str(stored(b"/" + b"a" * 5000)["path"])) <= 256


def test_of_the_requests_fields_only_its_id_is_kept() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer abc\r\nX-Request-Id: r-1\r\n\r\n"
    kept = stored(b"/", head)
    assert kept["request_id"] == "r-1"
    assert "abc" not in str(kept)
