"""Faults in rotation take more than a minute, so they are a step of their own: `make chaos`, or HEADGATE_CHAOS=1 for the tests."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("HEADGATE_CHAOS") == "1" else ["test_chaos.py"]
