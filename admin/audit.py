"""What the audit log says of a change: who, when, what, why, before, after, and the receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from admin.clock import utc_now
from admin.live import UNCHANGED, RouteState
from admin.publisher import Receipt
from admin.state.store import AuditEntry


@dataclass(frozen=True, slots=True)
class Intent:
    """Who wants what and why. `if_match` holds the revisions that the caller has seen; None where it did not say."""

    who: str
    action: str
    reason: str = ""
    if_match: frozenset[int] | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Auditor:
    """Writes entries for one node."""

    node: str

    def entry(
        self, intent: Intent, revision: int, route: str | None, before: object, after: object, receipt: Receipt | None
    ) -> AuditEntry:
        shown = receipt.to_json() if receipt else None
        return AuditEntry(
            revision, utc_now(), intent.who, intent.action, route, intent.reason, before, after, shown, self.node
        )

    def dropped(
        self,
        why: Mapping[str, str],
        before: Mapping[str, RouteState],
        after: Mapping[str, RouteState],
        revision: int,
        receipt: Receipt | None,
    ) -> list[AuditEntry]:
        """Live state that a new document ended, by route."""
        intent = Intent("configuration", "live_state_dropped")
        return [
            self.entry(
                replace(intent, reason=reason),
                revision,
                name,
                before.get(name, UNCHANGED).to_json(),
                after.get(name, UNCHANGED).to_json(),
                receipt,
            )
            for name, reason in why.items()
        ]

    def delisted(self, why: Mapping[str, str], revision: int, receipt: Receipt | None) -> list[AuditEntry]:
        """Live endpoints that a new document ended, by upstream."""
        intent = Intent("configuration", "live_endpoints_dropped")
        return [
            self.entry(replace(intent, reason=reason), revision, None, {"upstream": name}, {"upstream": name}, receipt)
            for name, reason in why.items()
        ]
