"""The pages of routes under maintenance: what the document says in place, or a file of its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from routing.config import Config, Maintenance
from routing.document import Loc, Problem

MOST_BYTES = 64 * 1024
"""Of a page: each worker holds it, and writes it at once."""


def maintenance_findings(loc: Loc, maintenance: Maintenance) -> Iterator[tuple[Loc, str]]:
    """What is wrong with one, as far as its document says."""
    if maintenance.body is None and maintenance.file is None:
        yield loc, "needs body or file"
    elif maintenance.body is not None and maintenance.file is not None:
        yield loc, "body and file exclude each other: give one"
    elif maintenance.body is not None and len(maintenance.body.encode()) > MOST_BYTES:
        yield (*loc, "body"), _TOO_LARGE
    if not (maintenance.content_type.isascii() and maintenance.content_type.isprintable() and maintenance.content_type):
        yield (*loc, "content_type"), "is not what a field can hold: printable ASCII"


def read_pages(config: Config) -> tuple[dict[str, bytes], list[Problem]]:
    """The pages that are files, by route, and what is wrong with those that can't be read."""
    pages: dict[str, bytes] = {}
    wrong: list[Problem] = []
    for name, route in config.routes.items():
        if route.maintenance is None or route.maintenance.file is None:
            continue
        try:
            pages[name] = _read(route.maintenance.file)
        except _PageError as error:
            wrong.append(config.problem(("routes", name, "maintenance", "file"), str(error)))
    return pages, wrong


class _PageError(Exception):
    pass


_TOO_LARGE = f"is larger than {MOST_BYTES >> 10} KiB"


def _read(path: str) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # a pipe would keep us
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _PageError(f"cannot read {path}: not a file")
            page = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _PageError(f"cannot read {path}: {error.strerror}") from error
    if len(page) > MOST_BYTES:
        raise _PageError(f"{path} {_TOO_LARGE}")
    return page
