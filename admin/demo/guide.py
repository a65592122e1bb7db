"""What the demo prints once it serves: addresses, the way in, and lines to paste."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from admin.demo.run import Running


def guide(running: Running) -> str:
    gateway, admin = running.gateway, running.admin
    preview = gateway.replace("127.0.0.1", "next.localhost")
    command, state = _command(), shlex.quote(str(running.state))
    return f"""\
Headgate is running, in front of four versions of a sample shop: blue, green, canary and next.

  gateway   {gateway}   a browser shows who answers; {preview} is the next version
  admin     {admin}   the API; {admin}/docs lists its calls (any user, the token as password)
  token     {state}/admin.token
  config    {shlex.quote(str(running.config))}   all that this demo shows

In another terminal, in this folder, so that the command finds this gateway:

  export HEADGATE_STATE={state}
  {command} status

Who answers? 200 new clients, counted:

  for i in $(seq 200); do curl -s {gateway}/; done | sort | uniq -c

Give canary half of the traffic, and count again; then take everything back, and count again:

  {command} weights shop canary=50 --reason "canary looks good"
  {command} cutback shop --reason "orders fail"
  {command} restore shop

Where would a request go, and why?

  {command} explain -H 'x-canary: true' {gateway}/
  {command} explain --client-ip 192.0.2.7 {gateway}/

What would the next version answer differently? It is the shadow of shop: it gets a copy of each GET, and its answers are
compared with blue's, never served. It forgets the tax now and then, and after some ten seconds this says so, and does not
blame it for what is never the same twice:

  {command} diffs shop
  {command} diffs shop --fail-over 1%; echo "exit code $?"

The same with curl:

  export HEADGATE_TOKEN=$(cat {state}/admin.token)
  curl -X POST -H "Authorization: Bearer $HEADGATE_TOKEN" {admin}/v1/routes/shop/cutback

Ctrl-C stops everything.
"""


def _command() -> str:
    """How to call `headgate` from here: by name where that finds this one, else by its path."""
    script = Path(sys.argv[0]).absolute()
    if script.name != "headgate":
        return "headgate"
    found = shutil.which("headgate")
    if found is not None and os.path.samefile(found, script):
        return "headgate"
    relative = os.path.relpath(script)
    return shlex.quote(str(script) if relative.startswith("..") else relative)
