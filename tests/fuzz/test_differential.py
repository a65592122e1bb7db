"""Nothing goes on that h11 refuses or reads in another way, and no bytes make our parsers raise.

A fixed set of examples here; HEADGATE_FUZZ=<examples> (`make fuzz`) draws so many new ones for each property.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.request_head import examine
from tests.fuzz.second import DIFFERENCES, check_requests, check_response, read_request
from tests.fuzz.seeds import BREAK, CORPUS, check
from tests.fuzz.wild import WILD_CHUNKS, WILD_REQUESTS, WILD_RESPONSES
from tests.proxy.fakes import request
from tests.proxy.streams import request_parser, request_table

DOCUMENTED = Path(__file__).parents[2] / "docs" / "http.md"
EXAMPLES = int(os.environ.get("HEADGATE_FUZZ", "0"))
wild = settings(
    max_examples=EXAMPLES or 400,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=list(HealthCheck),
)
POST = request(b"Transfer-Encoding: chunked", method=b"POST")
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@wild
@given(WILD_REQUESTS)
def test_request_that_goes_on_is_read_the_same_by_a_second_parser(raw: bytes) -> None:
    check_requests(raw)


@wild
@given(WILD_RESPONSES, st.booleans(), st.booleans())
def test_response_that_goes_on_is_read_the_same_by_a_second_parser(raw: bytes, to_head: bool, to_http10: bool) -> None:
    check_response(raw, to_head=to_head, to_http10=to_http10)


@wild
@given(WILD_CHUNKS)
def test_chunked_body_that_goes_on_is_read_the_same_by_a_second_parser(raw: bytes) -> None:
    check_requests(POST + raw)
    check_response(ANSWER + raw, to_head=False)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_documented_difference_is_one_and_its_reason_is_in_the_docs(name: str) -> None:
    known = DIFFERENCES[name]
    assert check_requests(known.example) == {name}
    assert known.said.search(read_request(known.example).refused)
    parser = request_parser()
    parser.feed(known.example)
    assert examine(parser.requests[0], request_table()) is None
    assert f"| {name} | {known.because} |" in DOCUMENTED.read_text()


@pytest.mark.parametrize("seed", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_seed_of_the_corpus_meets_every_check_however_it_is_cut(seed: Path) -> None:
    """What the atheris target (`python -m tests.fuzz`) starts from."""
    raw = seed.read_bytes()
    check(raw)
    for at in range(0, len(raw), 7):
        check(raw[:at] + BREAK + raw[at:])
