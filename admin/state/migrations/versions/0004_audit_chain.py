"""Each entry of the audit log with its hash. What is there already becomes the start of the chain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from admin.state.chain import HEAD, Head, link

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_AT_A_TIME = 500

_audit = sa.table(
    "audit",
    *(sa.column(name) for name in ("id", "at", "revision", "who", "action", "route", "reason", "node", "hash")),
    *(sa.column(name, sa.JSON) for name in ("before", "after", "receipt")),
)
_meta = sa.table("meta", sa.column("name"), sa.column("value"))


def upgrade() -> None:
    op.add_column("audit", sa.Column("hash", sa.String(64), nullable=False, server_default=""))
    connection, head = op.get_bind(), Head()
    page = sa.select(_audit).order_by(_audit.c.id).limit(_AT_A_TIME)
    hashed = sa.update(_audit).where(_audit.c.id == sa.bindparam("of")).values(hash=sa.bindparam("is"))
    while rows := connection.execute(page.where(_audit.c.id > head.id)).mappings().all():
        hashes = []
        for row in rows:
            head = Head(head.entries + 1, row["id"], link(head.hash, dict(row)))
            hashes.append({"of": head.id, "is": head.hash})
        connection.execute(hashed, hashes)
    connection.execute(sa.insert(_meta).values(name=HEAD, value=head.text()))


def downgrade() -> None:
    op.get_bind().execute(sa.delete(_meta).where(_meta.c.name == HEAD))
    op.drop_column("audit", "hash")
