"""How Alembic reaches the database: by the URL that `gateway.store.database.upgrade` hands over.

An upgrade is one transaction, on SQLite too: one that is killed has not happened.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from gateway.store import replay_schema

url = sa.make_url(context.config.attributes["url"])
if url.get_backend_name() == "postgresql":
    url = url.set(drivername="postgresql+psycopg")
engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
if engine.dialect.name == "sqlite":
    # The driver would begin no transaction for what changes the schema.
    sa.event.listen(engine, "connect", lambda connection, _record: setattr(connection, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
with engine.connect() as connection:
    tables = replay_schema.metadata
    context.configure(connection=connection, target_metadata=tables, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
