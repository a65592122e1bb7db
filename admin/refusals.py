"""Why a change is not made. Each leaves everything as it was; `admin.api.problems` says which status it is."""

from __future__ import annotations

from collections.abc import Iterable

from admin.live import FieldError
from routing.document import Problem


class RefusedError(Exception):
    """`detail` is a sentence for people."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnknownRouteError(RefusedError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no route {name!r}")


class UnknownUpstreamError(RefusedError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no upstream {name!r}")


class InvalidFieldsError(RefusedError):
    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in self.errors))


class StaleMatchError(RefusedError):
    """If-Match names a revision after which it has changed."""

    def __init__(self, current: int) -> None:
        super().__init__(f"it has changed since the revision in If-Match; it is at revision {current} now")
        self.current = current


class NothingToRestoreError(RefusedError):
    def __init__(self, route: str = "") -> None:
        super().__init__(f"route {route!r} is not cut back" if route else "no route is cut back")


class NothingLiveError(RefusedError):
    def __init__(self, route: str) -> None:
        super().__init__(f"no key of the shadow of route {route!r} was set live")


class NoShadowError(RefusedError):
    def __init__(self, route: str) -> None:
        super().__init__(f"route {route!r} has no shadow: declare one, or set one live with its upstream")


class UnknownTokenError(RefusedError):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no token {name!r}")


class TokenStandsError(RefusedError):
    """The tokens there are do not allow it."""


class BusyError(RefusedError):
    """The route can't begin a rollout now."""


class OutOfTurnError(RefusedError):
    """The rollout is in a state in which that can't be done, or there is none."""


class BadConfigError(RefusedError):
    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        super().__init__(f"the configuration has {count} problem{'s' if count != 1 else ''}; nothing was changed")


class UnpublishableError(RefusedError):
    def __init__(self) -> None:
        super().__init__("the supervisor is gone, so no worker can be told; nothing was changed")


class UnadoptableError(RefusedError):
    """Workers could not take up a configuration that is valid as a text: it names something that they can't use."""

    def __init__(self, errors: Iterable[str]) -> None:
        super().__init__(f"the workers cannot use this configuration; nothing was changed: {'; '.join(errors)}")
