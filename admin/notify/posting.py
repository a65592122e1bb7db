"""One attempt to deliver: signed, with a deadline, following no redirect. What it says of a failure does not hold the address,
whose path is a password with many receivers."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout

from admin.notify.policy import Attempt, retry_after
from routing.config_notifications import Notification


@dataclass(frozen=True, slots=True)
class Delivery:
    """`id` and `body` stay the same over all attempts. `since` is loop time."""

    id: str
    event: str
    body: bytes
    since: float


def signature(secret: str, body: bytes, now: int) -> str:
    """The time is signed too, so that a receiver can refuse what somebody recorded."""
    digest = hmac.new(secret.encode(), b"%d." % now + body, sha256).hexdigest()
    return f"t={now},v1={digest}"


def label(target: Notification) -> str:
    """For the log."""
    parts = urlsplit(target.url)
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{target.kind} {parts.scheme}://{parts.hostname}{port}"


async def post(session: ClientSession, target: Notification, delivery: Delivery) -> Attempt:
    now = time.time()
    headers = {
        "Content-Type": "application/json",
        "X-Headgate-Event": delivery.event,
        "X-Headgate-Delivery": delivery.id,
    }
    if target.secret is not None:
        headers["X-Headgate-Signature"] = signature(target.secret, delivery.body, int(now))
    timeout = ClientTimeout(total=target.timeout)
    try:
        async with session.post(
            target.url, data=delivery.body, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            wait = retry_after(response.headers.get("Retry-After"), now)
            return Attempt(response.status, f"the answer is {response.status}", wait)
    except TimeoutError:
        return Attempt(0, f"no answer within {target.timeout:g} s")
    except ClientConnectorError as error:
        return Attempt(0, " ".join(str(error.os_error).split()))
    except (ClientError, OSError, ValueError) as error:
        return Attempt(0, type(error).__name__)
