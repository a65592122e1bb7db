"""What the API's handlers work with: one object, made when the API starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from admin.auth import Tokens
from admin.gateway import Gateway
from admin.logs import Logger
from admin.rates import Rates
from admin.startup import Settings
from admin.state.store import Store


def gateway_version() -> str:
    try:
        return version("headgate")
    except PackageNotFoundError:  # a checkout that was not installed
        return "0+unknown"


@dataclass(slots=True)
class Context:
    """`reload_error` and `needs_restart` are what the last reload left behind."""

    gateway: Gateway
    store: Store
    tokens: Tokens
    rates: Rates
    settings: Settings
    log: Logger
    started_at: float
    """Unix time."""
    version: str = field(default_factory=gateway_version)
    reload_error: str | None = None
    needs_restart: list[str] = field(default_factory=list)
