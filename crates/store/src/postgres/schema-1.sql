-- The tables of a shared standby store, in a schema of their own, which is first in the search path.

-- One record per place; partition -1 where none is known. What the bytes mean is known to Evenkeel alone.
CREATE TABLE records (
    topic text NOT NULL,
    partition integer NOT NULL,
    revision bigint NOT NULL,
    -- The lowest position that the record holds: blocks that end there or below are dropped some day.
    head bigint NOT NULL,
    is_listed boolean NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE INDEX records_listed ON records (topic, partition) WHERE is_listed;

-- Blocks are never updated and never deleted: they leave with their generation, which is a partition of this table.
CREATE TABLE blocks (
    generation bigint NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    position bigint NOT NULL,
    finish bigint NOT NULL,
    bytes bytea NOT NULL
) PARTITION BY LIST (generation);

ALTER TABLE blocks ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- That a position is used once is seen to by the record's revision.
CREATE INDEX blocks_position ON blocks (topic, partition, position);

-- The newest takes what is appended.
CREATE TABLE generations (
    number bigint PRIMARY KEY
);

CREATE TABLE blocks_1 PARTITION OF blocks FOR VALUES IN (1);

INSERT INTO generations VALUES (1);

CREATE TABLE leases (
    process bytea PRIMARY KEY,
    renewal bigint NOT NULL,
    bytes bytea NOT NULL
);
