"""Bodies of answers to the questions of rollouts: no more of them than is looked at."""

from __future__ import annotations

from aiohttp import StreamReader


async def beginning(content: StreamReader, most: int) -> bytes:
    """Up to so many bytes, however they come."""
    read = bytearray()
    while len(read) < most and (part := await content.read(most - len(read))):
        read += part
    return bytes(read)
