"""The gateway's own answers."""

from __future__ import annotations

import json
import re

import h11
import pytest

from proxy.errors import REASONS, ErrorKind, response


@pytest.mark.parametrize("kind", list(ErrorKind))
@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("close", [False, True])
def test_error_is_a_whole_response_that_names_its_kind(kind: ErrorKind, head_only: bool, close: bool) -> None:
    raw = response(kind, close=close, head_only=head_only, request_id=b"r1")
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="HEAD" if head_only else "GET", target="/", headers=[("Host", "a")]))
    client.receive_data(raw)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    fields = {name.decode(): value.decode() for name, value in head.headers}
    assert (head.status_code, head.reason) == (kind.status, REASONS[kind.status])
    assert fields["content-type"] == "application/problem+json"
    assert fields["x-headgate-error"] == kind.label
    assert fields["x-request-id"] == "r1"
    assert (fields.get("connection") == "close") is close
    assert ("retry-after" in fields) is (kind.status in (429, 503))
    assert ("allow" in fields) is (kind.status == 405)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    if not head_only:
        problem = json.loads(body)
        assert (problem["status"], problem["kind"], problem["detail"]) == (kind.status, kind.label, kind.detail)


def test_kinds_have_names_of_their_own() -> None:
    labels = [kind.label for kind in ErrorKind]
    assert len(set(labels)) == len(labels)


def test_error_of_our_own_says_when() -> None:
    """RFC 9110 section 6.6.1: of this answer the gateway is the origin server."""
    head = response(ErrorKind.NO_ROUTE, close=False, head_only=True)
    assert re.search(rb"\r\nDate: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", head)
