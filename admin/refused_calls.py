"""Changes that were refused, in the audit log: who tried what, and why not.

Each is written to the disk, so a flood of them is bounded, for each caller and for all together: so many at once, and one each
so many seconds. The others are counted, and the next one that is written says how many.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from admin.allowance import Allowance
from admin.audit import Auditor, Intent
from admin.gateway import Gateway
from admin.logs import Logger
from admin.state.store import Change

# 8,640 entries a day at most, of some 300 bytes.
_BURST, _SECONDS_EACH = 200, 10.0
_BURST_OF_ONE, _SECONDS_EACH_OF_ONE = 50, 60.0
# Callers told apart at a time: with OIDC there is no end of names.
_CALLERS = 1000
_LONGEST_PATH, _LONGEST_REASON = 300, 1000


@dataclass(frozen=True, slots=True)
class RefusedCall:
    who: str
    method: str
    path: str
    route: str | None
    status: int
    why: str


class RefusedCalls:
    """`counts` are by status; `unrecorded` are those that the audit log has not."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.unrecorded = 0
        self._left_out = 0
        """Since the last that was recorded."""
        self._all = Allowance(_BURST, _SECONDS_EACH)
        self._by_caller: dict[str, Allowance] = {}

    async def record(self, call: RefusedCall, gateway: Gateway, log: Logger, now: float) -> None:
        self.counts[call.status] += 1
        if not self._admitted(call.who, now):
            self.unrecorded += 1
            self._left_out += 1
            return
        said = f"{call.method} {call.path[:_LONGEST_PATH]}"
        after: dict[str, object] = {"call": said, "status": call.status}
        if self._left_out:
            after["unrecorded_before"] = self._left_out
            self._left_out = 0
        intent = Intent(call.who, "refused", call.why[:_LONGEST_REASON])
        entry = Auditor(gateway.node).entry(intent, gateway.revision, call.route, None, after, None)
        log.info("refused", who=call.who, call=said, status=call.status, why=intent.reason)
        await gateway.journal.keep(Change(gateway.revision, audit=[entry]))

    def _admitted(self, who: str, now: float) -> bool:
        mine = self._by_caller.pop(who, None) or Allowance(_BURST_OF_ONE, _SECONDS_EACH_OF_ONE)
        self._by_caller[who] = mine
        if len(self._by_caller) > _CALLERS:
            del self._by_caller[next(iter(self._by_caller))]
        if not (mine.left(now) and self._all.left(now)):
            return False
        mine.take(now)
        self._all.take(now)
        return True
