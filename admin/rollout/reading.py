"""What comes back when a rollout asks: no more of a body than is looked at, and no more of a failure than people may see.

The path and the query of a URL, and who it logs in as, can be secrets, and viewers read reasons.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import ClientResponseError, InvalidURL, StreamReader


async def beginning(content: StreamReader, most: int) -> bytes:
    """Up to so many bytes, however they come."""
    read = bytearray()
    while len(read) < most and (part := await content.read(most - len(read))):
        read += part
    return bytes(read)


def origin_of(url: str) -> str:
    """What of it may be shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def failure_of(error: Exception) -> str:
    """In a few words, without the URL that aiohttp puts into some."""
    if isinstance(error, InvalidURL):
        return "the URL cannot be used"
    text = error.message if isinstance(error, ClientResponseError) else str(error)
    return " ".join(text.split()) or type(error).__name__
