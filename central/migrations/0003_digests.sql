-- What agents say that they have counted of a till's business day, beside what is here of it.
CREATE TABLE day_digest (
    store_id       text        COLLATE "C" NOT NULL,
    business_day   date        NOT NULL,
    till           text        COLLATE "C" NOT NULL,
    series         text        COLLATE "C" NOT NULL,
    stream_id      uuid        NOT NULL,
    first_sequence bigint      NOT NULL CHECK (first_sequence >= 1),
    sequence       bigint      NOT NULL CHECK (sequence >= first_sequence),
    receipts       bigint      NOT NULL CHECK (receipts >= 0),
    cents          bigint      NOT NULL,
    keys           bytea       NOT NULL CHECK (length(keys) = 32),
    told_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (store_id, business_day, till, series, stream_id, first_sequence)
);
COMMENT ON TABLE day_digest IS 'Of the batches first_sequence to sequence of a stream; what is told with a later sequence replaces it.';
COMMENT ON COLUMN day_digest.keys IS 'Sum modulo 2^256 of the SHA-256 of each receipt''s key.';

ALTER TABLE ledger ADD COLUMN abandoned int8multirange NOT NULL DEFAULT '{}';
ALTER TABLE ledger ADD CHECK (abandoned <@ given_up);
COMMENT ON COLUMN ledger.abandoned IS 'Those of given_up that the agent itself has named: their disk was damaged.';

CREATE OR REPLACE VIEW v1.streams AS
SELECT l.store_id AS store, l.stream_id AS stream, l.highest_sequence,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(l.accepted) r) AS accepted,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(l.set_aside) r) AS set_aside,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(l.missing) r) AS gaps,
       CASE WHEN isempty(l.missing + l.set_aside) THEN l.complete_through ELSE
           (SELECT b.complete_through FROM batch b
             WHERE b.store_id = l.store_id AND b.stream_id = l.stream_id AND b.verdict = 'accepted'
               AND b.sequence < lower(l.missing + l.set_aside) AND b.complete_through IS NOT NULL
             ORDER BY b.sequence DESC LIMIT 1) END AS complete_through,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(l.given_up) r) AS given_up,
       l.complete_through AS told_through,
       EXISTS (SELECT FROM store_stream a WHERE a.store_id = l.store_id AND a.stream_id = l.stream_id
                AND a.retired_at IS NULL) AS active,
       l.first_seen, l.last_seen,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(l.abandoned) r) AS abandoned
FROM ledger l;
COMMENT ON COLUMN v1.streams.abandoned IS 'Those of given_up that the agent itself has named.';

CREATE VIEW v1.day_digests AS
SELECT store_id AS store, business_day, till, series, stream_id AS stream, first_sequence,
       sequence AS last_sequence, receipts, cents, encode(keys, 'hex') AS keys, told_at
FROM day_digest;
COMMENT ON VIEW v1.day_digests IS 'What the agent says that the batches first_sequence to last_sequence of its stream hold of a day.';
