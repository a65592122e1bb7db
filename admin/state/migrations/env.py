"""Run by alembic; the connection and its transaction are those of `admin.state.migrate.upgrade`."""

from __future__ import annotations

from alembic import context

from admin.state.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
