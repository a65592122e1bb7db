"""A gateway that starts while processes of the one before it are still there."""

from __future__ import annotations

import os
import signal

from tests.support.gateway import document
from tests.support.stage import Stage


def test_gateway_waits_for_an_admin_process_that_has_outlived_its_supervisor(stage: Stage) -> None:
    """It may have state in hand that is answered and not stored yet; a writer beside it would not know of that."""
    settings = document({"blue": stage.origin("blue").url})
    before, after = stage.gateway(settings), stage.gateway(settings)
    after.write({**settings, "state": str(before.state)})
    before.start()
    admin = before.admin_pid
    os.kill(admin, signal.SIGSTOP)
    os.kill(before.pid, signal.SIGKILL)
    after.launch()
    after.until(lambda: any("waiting for what is left" in line for line in after.lines), "it says that it waits")
    mark = after.mark
    os.kill(admin, signal.SIGCONT)
    after.logged("serving", after=mark)
    before.end()
