"""Whose a token is, how long it holds, and the day of its last use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("created_by", sa.String(255), nullable=False, server_default=""))
    op.add_column("tokens", sa.Column("expires_at", sa.String(32)))
    op.add_column("tokens", sa.Column("last_used", sa.String(10)))


def downgrade() -> None:
    for column in ("last_used", "expires_at", "created_by"):
        op.drop_column("tokens", column)
