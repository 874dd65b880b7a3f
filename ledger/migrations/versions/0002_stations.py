"""What the stations keep beside the log: topics, offsets of the inbox, origins, refusals, the outbox, the relay's marks."""

from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    op.execute("CREATE TABLE topics (role TEXT PRIMARY KEY, name TEXT NOT NULL, topic_id TEXT NOT NULL, partitions INTEGER NOT NULL)")
    op.execute(
        "CREATE TABLE inbox (topic_id TEXT, partition INTEGER, next BIGINT NOT NULL, accepted BIGINT NOT NULL DEFAULT 0, "
        "duplicates BIGINT NOT NULL DEFAULT 0, refused BIGINT NOT NULL DEFAULT 0, PRIMARY KEY (topic_id, partition))"
    )
    op.execute(
        "CREATE TABLE origins (position BIGINT PRIMARY KEY, topic TEXT NOT NULL, topic_id TEXT NOT NULL, "
        'partition INTEGER NOT NULL, "offset" BIGINT NOT NULL)'
    )
    op.execute(
        "CREATE TABLE refusals (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, topic_id TEXT NOT NULL, partition INTEGER NOT NULL, "
        '"offset" BIGINT NOT NULL, refused_at BIGINT NOT NULL, code TEXT NOT NULL, record TEXT NOT NULL, '
        'settled_at BIGINT, settled TEXT, UNIQUE (topic_id, partition, "offset"))'
    )
    op.execute("CREATE TABLE outbox (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, role TEXT NOT NULL, key BYTEA, value BYTEA)")
    op.execute("CREATE TABLE relay (one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one), position BIGINT NOT NULL, epoch BIGINT NOT NULL)")
    op.execute("INSERT INTO relay VALUES (TRUE, 0, 0)")
    op.execute(
        'CREATE TABLE relayed (topic_id TEXT, partition INTEGER, "after" BIGINT, next BIGINT NOT NULL, '
        'PRIMARY KEY (topic_id, partition, "after"))'
    )
