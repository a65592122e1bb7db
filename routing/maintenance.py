"""What a route answers while people have drained all that could."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Maintenance:
    """`retry_after` is in seconds; `content_type` is what stands in the field."""

    status: int
    retry_after: int
    content_type: bytes
    body: bytes
