"""Snapshots and live state as bytes, for processes that hold the same classes in another form.

A worker may run these modules compiled (docs/performance.md); a compiled class can't be filled in field by field as pickle does
by default, so a dataclass is pickled as a call with its arguments.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import fields, is_dataclass
from typing import Any


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return type(value), tuple(getattr(value, field.name) for field in fields(value) if field.init)
        return NotImplemented


def dumps(value: object) -> bytes:
    """The pickle of anything made of dataclasses and what pickle knows."""
    out = io.BytesIO()
    _Pickler(out, pickle.HIGHEST_PROTOCOL).dump(value)
    return out.getvalue()
