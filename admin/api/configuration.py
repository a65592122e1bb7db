"""The declared document: reading it, replacing it, and reading the file again."""

from __future__ import annotations

import asyncio
import json

from admin.api.call import CONFIG_LIMIT, Call, Raw, Reply
from admin.api.models import ConfigAnswer, ConfigQuery, NoQuery
from admin.api.problems import ProblemError
from admin.api.views import receipt_of
from admin.audit import Intent
from admin.clock import today
from admin.context import Context
from admin.document import from_body, from_file, needs_restart
from admin.live import FieldError
from admin.refusals import BadConfigError, InvalidFieldsError, RefusedError
from routing.check import warnings
from routing.document import ConfigError

YAML = "application/yaml"
TYPES = frozenset({"application/json", YAML, "application/x-yaml", "text/yaml"})


async def get_config(call: Call) -> Raw:
    """As written, variables unfilled. YAML for those who ask for it: with the comments, if the document has any."""
    call.parameters(NoQuery)
    gateway = call.context.gateway
    document = gateway.laid.document
    headers = {"X-Headgate-Source": document.source, "Vary": "Accept"}
    if "yaml" in call.request.headers.get("Accept", ""):
        return Raw(document.text.encode(), YAML, gateway.document_revision, headers)
    tree = await asyncio.to_thread(document.tree)
    return Raw(json.dumps(tree).encode(), "application/json", gateway.document_revision, headers)


async def put_config(call: Call) -> Reply:
    query = call.parameters(ConfigQuery)
    raw = await call.read(TYPES, CONFIG_LIMIT)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ProblemError(400, "the body is not UTF-8 text") from error
    gateway, environ = call.context.gateway, call.context.settings.environ
    intent = call.intent("config", query.reason, dry_run=query.dry_run)
    try:
        document = await asyncio.to_thread(from_body, text, environ, gateway.laid.document)
        if keys := needs_restart(gateway.running, document.config):
            message = "cannot change while the gateway runs; change the file and restart"
            raise InvalidFieldsError(FieldError(key, message) for key in keys)
        outcome = await gateway.adopt(document, intent)
    except ConfigError as error:
        raise BadConfigError(error.problems) from error
    if not query.dry_run:
        call.context.reload_error, call.context.needs_restart = None, []
    found = [str(warning) for warning in warnings(document.config, today())]
    answer = ConfigAnswer(
        revision=outcome.revision,
        routes=list(outcome.changed),
        dropped=outcome.laid.dropped,
        receipt=receipt_of(outcome.receipt),
        dry_run=outcome.receipt is None,
        persisted=outcome.receipt is not None and outcome.receipt.persisted,
        warnings=[*outcome.warnings, *found],
    )
    return Reply(answer, revision=outcome.revision)


async def reload_file(context: Context) -> None:
    """SIGHUP. A file that is as it was when the present document was adopted changes nothing, so a PUT stays in force."""
    gateway, log = context.gateway, context.log
    try:
        document = await asyncio.to_thread(from_file, context.settings.config, context.settings.environ)
        if document.file == gateway.laid.document.file:
            log.info("the configuration file has not changed", sha256=document.file)
        else:
            await gateway.adopt(document, Intent("SIGHUP", "config", "the file was read again"))
            context.needs_restart = needs_restart(gateway.running, document.config)
        context.reload_error = None
    except ConfigError as error:
        context.reload_error = "; ".join(map(str, error.problems))
        log.error("the configuration was not reloaded", problems=[str(problem) for problem in error.problems])
    except RefusedError as error:
        context.reload_error = error.detail
        log.error("the configuration was not reloaded", error=error.detail)
    if context.needs_restart:
        log.warning("changed in the file, but only after a restart", keys=context.needs_restart)
