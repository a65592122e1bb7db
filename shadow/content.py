"""The content of an answer's body: its codings undone within limits, and what it is: JSON, text or other bytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import Enum
from typing import Any

import brotli
import orjson
import zstandard

from shadow.verdict import Reason, UndecidedError

MOST_BYTES = 4 * 1024 * 1024
"""A body is decoded to no more than this."""
BOMB_RATIO = 10
# RFC 9110 section 8.4 allows any number; nobody sends more than two, and each could be a bomb of its own.
_MOST_CODINGS = 3
_PIECE = 64 * 1024
# RFC 8878 section 3.1.1.1.2 recommends to accept windows of 8 MB, and no more from a stranger.
_ZSTD_WINDOW = 8 * 1024 * 1024

_NOT_TEXT = bytes(range(0x09)) + bytes(range(0x0E, 0x1B)) + b"\x1c\x1d\x1e\x1f"
_TEXT_TYPES = frozenset(
    {
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/yaml",
        "application/toml",
        "application/graphql",
        "application/sql",
        "application/x-ndjson",
        "application/jsonlines",
    }
)


class Shape(Enum):
    EMPTY = "empty"
    JSON = "json"
    TEXT = "text"
    BYTES = "bytes"


def decoded(body: bytes, codings: str, most: int = MOST_BYTES) -> bytes:
    """Undo a Content-Encoding. Raises UndecidedError."""
    names = [name for part in codings.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if not body or not names:
        return body
    if len(names) > _MOST_CODINGS:
        raise UndecidedError(Reason.UNDECODABLE)
    sent = len(body)
    for name in reversed(names):
        body = _undone(body, name, most, sent)
    return body


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def claims_json(media: str) -> bool:
    return media in ("application/json", "text/json") or media.endswith("+json")


def shape_of(body: bytes, media: str) -> tuple[Shape, Any, bool]:
    """The shape, the value where it is JSON, and whether it claims to be JSON and is not."""
    if not body:
        return Shape.EMPTY, None, False
    claims = claims_json(media)
    if claims or body.lstrip()[:1] in (b"{", b"["):
        try:
            return Shape.JSON, orjson.loads(body.removeprefix(b"\xef\xbb\xbf")), False
        except orjson.JSONDecodeError as error:
            # What is nested more deeply than orjson reads is JSON, and not to be compared as text.
            if "depth limit" in error.msg:
                raise UndecidedError(Reason.TOO_DEEP) from error
            if "enough memory" in error.msg:
                raise MemoryError from error
    if claims or _is_text(media) or (not media and body.translate(None, _NOT_TEXT) == body):
        return Shape.TEXT, None, claims
    return Shape.BYTES, None, False


def text_of(body: bytes) -> str:
    """What is no UTF-8 stays visible, byte by byte, so that two bodies that differ never give one text."""
    return body.decode("utf-8", "backslashreplace")


def _is_text(media: str) -> bool:
    return media.startswith("text/") or media.endswith("+xml") or media in _TEXT_TYPES


def _undone(body: bytes, name: str, most: int, sent: int) -> bytes:
    pieces = []
    size = 0
    try:
        for piece in _pieces(body, name):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise UndecidedError(Reason.BOMB if most > BOMB_RATIO * sent else Reason.TOO_LARGE)
    except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as error:
        raise UndecidedError(Reason.UNDECODABLE) from error
    return b"".join(pieces)


def _pieces(body: bytes, name: str) -> Iterator[bytes]:
    """The decoded body in pieces of bounded size. Raises the coding's own error, EOFError where the stream is cut off."""
    match name:
        case "gzip" | "x-gzip":
            return _inflated(body, 16 + zlib.MAX_WBITS)
        case "deflate":
            # RFC 9110 section 8.4.1.2: zlib's format is meant; some send the bare one.
            zlib_format = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
            return _inflated(body, zlib.MAX_WBITS if zlib_format else -zlib.MAX_WBITS)
        case "br":
            return _from_brotli(body)
        case "zstd":
            return _from_zstd(body)
    raise UndecidedError(Reason.UNDECODABLE)


def _inflated(body: bytes, window: int) -> Iterator[bytes]:
    while body:
        stream = zlib.decompressobj(window)
        rest = body
        while not stream.eof:
            piece = stream.decompress(rest, _PIECE)
            rest = stream.unconsumed_tail
            if not piece and not rest and not stream.eof:
                raise EOFError
            yield piece
        # RFC 1952 section 2.2: members may follow each other. In the other formats nothing follows.
        body = stream.unused_data
        if body and window <= zlib.MAX_WBITS:
            raise zlib.error("bytes behind the end")


def _from_brotli(body: bytes) -> Iterator[bytes]:
    stream = brotli.Decompressor()
    piece = stream.process(body, output_buffer_limit=_PIECE)
    while piece or not stream.is_finished():
        yield piece
        if stream.is_finished():
            return
        before, piece = piece, stream.process(b"", output_buffer_limit=_PIECE)
        if not before and not piece:
            raise EOFError


def _from_zstd(body: bytes) -> Iterator[bytes]:
    """A reader bounds what it returns but takes a stream cut off for a whole one, and the other interface is the reverse. So
    the size is found by the one, then the other decodes."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    size = 0
    with decompressor.stream_reader(body, read_across_frames=True) as reader:
        while piece := reader.read(_PIECE):
            size += len(piece)
            if size > MOST_BYTES:
                yield bytes(size)
    while body:
        stream = decompressor.decompressobj()
        yield stream.decompress(body)
        if not stream.eof:
            raise EOFError
        body = stream.unused_data
