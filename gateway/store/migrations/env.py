"""How Alembic reaches the database: by the URL that `gateway.store.database.upgrade` hands over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from gateway.store.schema import metadata

url = sa.make_url(context.config.attributes["url"])
if url.get_backend_name() == "postgresql":
    url = url.set(drivername="postgresql+psycopg")
engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
