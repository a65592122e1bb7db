"""Bodies: codings undone within limits, and what kind of content it is."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from shadow.content import MOST_BYTES, Shape, decoded, shape_of, text_of
from shadow.verdict import Reason, UndecidedError

Encode = Callable[[bytes], bytes]


def bare_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


def brotli_of(body: bytes) -> bytes:
    return bytes(brotli.compress(body, quality=1))


def zstd_without_size(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(body)


CODINGS: list[tuple[str, Encode]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
    ("br", brotli_of),
    ("zstd", zstandard.compress),
    ("zstd", zstd_without_size),
]
BODY = os.urandom(1000) * 300


def reason(body: bytes, codings: str) -> Reason:
    with pytest.raises(UndecidedError) as raised:
        decoded(body, codings)
    return raised.value.reason


@pytest.mark.parametrize(("name", "encode"), CODINGS)
def test_coding_is_undone(name: str, encode: Encode) -> None:
    assert decoded(encode(BODY), name.upper()) == BODY
    assert decoded(encode(b""), name) == b""


@pytest.mark.parametrize(("name", "encode"), CODINGS)
@pytest.mark.parametrize("keep", [slice(0, -3), slice(0, 40), slice(1, None)])
def test_broken_stream_is_undecodable(name: str, encode: Encode, keep: slice) -> None:
    assert reason(encode(BODY)[keep], name) is Reason.UNDECODABLE


@pytest.mark.parametrize(("name", "encode"), CODINGS)
def test_bytes_behind_the_end_are_undecodable(name: str, encode: Encode) -> None:
    assert reason(encode(BODY) + b"and more", name) is Reason.UNDECODABLE


@pytest.mark.parametrize(("name", "encode"), CODINGS)
def test_bomb_is_not_decoded(name: str, encode: Encode) -> None:
    assert reason(encode(bytes(4 * MOST_BYTES)), name) is Reason.BOMB


@pytest.mark.parametrize(("name", "encode"), CODINGS)
def test_body_that_decodes_to_more_than_the_limit_is_too_large(name: str, encode: Encode) -> None:
    assert len(decoded(encode(os.urandom(MOST_BYTES)), name)) == MOST_BYTES
    assert reason(encode(os.urandom(MOST_BYTES + 1)), name) is Reason.TOO_LARGE


def test_several_codings_are_undone_last_first() -> None:
    assert decoded(brotli_of(gzip.compress(b"x")), "gzip, identity,br") == b"x"


def test_bomb_in_a_bomb_is_not_decoded() -> None:
    assert reason(gzip.compress(gzip.compress(bytes(4 * MOST_BYTES))), "gzip, gzip") is Reason.BOMB


@pytest.mark.parametrize("codings", ["exi", "gzip,gzip,gzip,gzip"])
def test_unknown_coding_and_too_many_are_undecodable(codings: str) -> None:
    assert reason(b"x", codings) is Reason.UNDECODABLE


def test_frames_and_members_may_follow_each_other() -> None:
    assert decoded(gzip.compress(b"a") + gzip.compress(b"b"), "gzip") == b"ab"
    assert decoded(zstandard.compress(b"a") + zstandard.compress(b"b"), "zstd") == b"ab"


SHAPES: list[tuple[str, bytes, Shape, bool]] = [
    ("application/json", b'{"a":1}', Shape.JSON, False),
    ("application/json", b"7", Shape.JSON, False),
    ("application/problem+json", b"[]", Shape.JSON, False),
    ("application/json", b'\xef\xbb\xbf{"a":1}', Shape.JSON, False),
    ("application/json", b"<html>", Shape.TEXT, True),
    ("application/json", b'{"a":', Shape.TEXT, True),
    ("application/json", b"", Shape.EMPTY, False),
    ("", b' {"a":1}', Shape.JSON, False),
    ("text/plain", b"[1]", Shape.JSON, False),
    ("text/plain", b"{no", Shape.TEXT, False),
    ("text/html", b"<p>", Shape.TEXT, False),
    ("image/svg+xml", b"<svg>", Shape.TEXT, False),
    ("", b"words", Shape.TEXT, False),
    ("", b"\x00\x01", Shape.BYTES, False),
    ("image/png", b"\x89PNG", Shape.BYTES, False),
    ("image/png", b"words", Shape.BYTES, False),
]


@pytest.mark.parametrize(("media", "body", "shape", "lies"), SHAPES)
def test_shape_of_a_body(media: str, body: bytes, shape: Shape, lies: bool) -> None:
    found, _, claims = shape_of(body, media)
    assert (found, claims) == (shape, lies)


def test_json_nested_deeper_than_can_be_read_is_not_taken_for_text() -> None:
    with pytest.raises(UndecidedError) as raised:
        shape_of(b"[" * 2000 + b"]" * 2000, "")
    assert raised.value.reason is Reason.TOO_DEEP


def test_bytes_that_are_no_text_stay_different() -> None:
    assert text_of(b"a\xff") != text_of(b"a\xfe")
