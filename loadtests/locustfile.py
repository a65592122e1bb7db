"""locust -f loadtests/locustfile.py --host http://your-gateway:8080

Options of its own say which paths the users ask for; see README.md beside this file. Naming classes runs only those:
`locust -f loadtests/locustfile.py --host … Browsing Returning`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # locust runs this file as a script

from loadtests.samples import SampleFile
from loadtests.users import Browsing, ByRegion, Calling, Ordering, Returning, Streaming

__all__ = ["Browsing", "ByRegion", "Calling", "Ordering", "Returning", "Streaming"]


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: LocustArgumentParser) -> None:
    add = parser.add_argument_group("headgate").add_argument
    add("--pages", default="/,/about,/terms", help="Paths that browsing users open, with commas between")
    add("--api", default="/api/products", help="Path of an API call (GET)")
    add("--orders", default="/api/orders", help="Path that takes a POST of JSON")
    add("--stream", default="/api/events?count=8&every=150", help="Path of a server-sent event stream")
    add(
        "--weights-change",
        action="store_true",
        help="Weights change during the run: a sticky user who moves to another upstream is no failure",
    )
    add("--samples", default="", help="Write a line of JSON for each request into this file")


@events.init.add_listener  # type: ignore[untyped-decorator]
def write_samples(environment: Environment, **_: object) -> None:
    if environment.parsed_options and environment.parsed_options.samples:
        samples = SampleFile(Path(environment.parsed_options.samples))
        environment.events.request.add_listener(samples.add)  # type: ignore[no-untyped-call]
        environment.events.quitting.add_listener(samples.close)  # type: ignore[no-untyped-call]
