"""The declared document: the file, or what `PUT /v1/config` brought, which wins until the file itself changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routing.check import stable_of, weights_of
from routing.config import Config, Route
from routing.document import read
from routing.load import load_text, read_file

# What a running gateway can't change: its sockets, processes and folder.
RESTART_KEYS = ("listen", "workers", "admin", "state")


@dataclass(frozen=True, slots=True)
class Document:
    """`file` is the SHA-256 of the file's content when this was adopted, whichever of the two it came from."""

    text: str
    source: str
    """`file` or `api`."""
    file: str
    config: Config

    def to_json(self) -> dict[str, str]:
        return {"text": self.text, "source": self.source, "file": self.file}

    def summary(self) -> dict[str, str]:
        """What the audit log shows of it: which document it was, not what stood in it."""
        return {"source": self.source, "sha256": digest(self.text)}

    def tree(self) -> Any:
        """As written, with its variables unfilled: the environment may hold secrets."""
        return read(self.text.replace("${", "$${"), {}).tree


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def from_file(path: Path, environ: Mapping[str, str]) -> Document:
    """Raises ConfigError."""
    text = read_file(path)
    return Document(text, "file", digest(text), load_text(text, environ, str(path)))


def from_kept(kept: Mapping[str, str], environ: Mapping[str, str]) -> Document:
    """Raises ConfigError: a document that an older version accepted, or a variable that is gone."""
    return Document(kept["text"], kept["source"], kept["file"], load_text(kept["text"], environ, "the stored document"))


def from_body(text: str, environ: Mapping[str, str], present: Document) -> Document:
    """`present` is the document that it is to replace. Raises ConfigError."""
    return Document(text, "api", present.file, load_text(text, environ))


def fingerprint(route: Route) -> str:
    """Of what live weights are laid over: the route's declared weights and stable, however they are written."""
    value = {"stable": stable_of(route), "weights": {name: float(weight) for name, weight in weights_of(route).items()}}
    return digest(json.dumps(value, sort_keys=True))[:16]


def shadow_fingerprint(route: Route) -> str:
    """Of what a live shadow is laid over: every key of the declared one, however it is written."""
    value = None if route.shadow is None else route.shadow.model_dump(mode="json", by_alias=True)
    return digest(json.dumps(value, sort_keys=True))[:16]


def needs_restart(running: Config, wanted: Config) -> list[str]:
    """The keys whose new value takes a restart."""
    return [key for key in RESTART_KEYS if getattr(running, key) != getattr(wanted, key)]
