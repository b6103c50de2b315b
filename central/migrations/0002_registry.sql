-- Which stores there are, what may count of them, and what became of what did not.

-- The stores that the chain knows. Commands lock a store's row; the judge shares that lock.
CREATE TABLE store (
    store_id  text        COLLATE "C" PRIMARY KEY,
    opened_at timestamptz NOT NULL,
    added_at  timestamptz NOT NULL DEFAULT now(),
    added_by  text        NOT NULL
);
COMMENT ON COLUMN store.opened_at IS 'Minutes before this one never count.';

-- A store's state from a minute on; before the first row it is planned.
CREATE TABLE store_state (
    store_id    text        COLLATE "C" NOT NULL REFERENCES store,
    from_minute timestamptz NOT NULL,
    state       text        NOT NULL CHECK (state IN ('planned', 'open', 'paused', 'closed')),
    set_at      timestamptz NOT NULL DEFAULT now(),
    set_by      text        NOT NULL,
    PRIMARY KEY (store_id, from_minute)
);

-- The streams that were a store's active one. One of them is now.
CREATE TABLE store_stream (
    store_id     text        COLLATE "C" NOT NULL REFERENCES store,
    turn         bigint      GENERATED ALWAYS AS IDENTITY,
    stream_id    uuid        NOT NULL,
    activated_at timestamptz NOT NULL DEFAULT now(),
    activated_by text        NOT NULL,
    retired_at   timestamptz,
    PRIMARY KEY (store_id, turn)
);
CREATE UNIQUE INDEX store_stream_active ON store_stream (store_id) WHERE retired_at IS NULL;

-- A store without a row has a closed breaker and no bad verdicts.
CREATE TABLE breaker (
    store_id  text   COLLATE "C" PRIMARY KEY REFERENCES store,
    recent    bigint NOT NULL DEFAULT 0 CHECK (recent >= 0 AND recent < 1::bigint << 50),
    opened_at timestamptz
);
COMMENT ON COLUMN breaker.recent IS 'The last 50 verdicts, the newest in the lowest bit; 1 is a bad one.';

-- Whoever has delivered before the registry was made is known, and its last stream is the active one.
INSERT INTO store (store_id, opened_at, added_by)
SELECT DISTINCT store_id, timestamptz '1970-01-01T00:00:00Z', 'migration' FROM ledger;
INSERT INTO store_state (store_id, from_minute, state, set_by)
SELECT store_id, opened_at, 'open', 'migration' FROM store;
INSERT INTO store_stream (store_id, stream_id, activated_by)
SELECT DISTINCT ON (store_id) store_id, stream_id, 'migration' FROM ledger
ORDER BY store_id, last_seen DESC, stream_id DESC;

-- Receipts of a till that are known by a text, not by a number.
CREATE TABLE receipt_id (
    store_id  text   COLLATE "C" NOT NULL,
    till      text   COLLATE "C" NOT NULL,
    series    text   COLLATE "C" NOT NULL,
    receipt   text   COLLATE "C" NOT NULL,
    stream_id uuid   NOT NULL,
    sequence  bigint NOT NULL,
    PRIMARY KEY (store_id, till, series, receipt)
);
INSERT INTO receipt_id (store_id, till, series, receipt, stream_id, sequence)
SELECT m.store_id, m.till, m.series, r.receipt, m.stream_id, m.sequence
FROM store_minute m, jsonb_array_elements_text(m.receipt_ids) r(receipt)
ON CONFLICT DO NOTHING;

-- What an agent had told with a batch, so that a gap holds back what was told behind it.
ALTER TABLE batch ADD COLUMN complete_through timestamptz;

ALTER TABLE ledger ADD COLUMN given_up int8multirange NOT NULL DEFAULT '{}';
ALTER TABLE ledger ADD COLUMN missing int8multirange GENERATED ALWAYS AS
    (int8multirange(int8range(1, highest_sequence, '[]')) - accepted - set_aside - given_up) STORED;
ALTER TABLE ledger ADD CHECK (NOT given_up && accepted AND NOT given_up && set_aside);
COMMENT ON COLUMN ledger.given_up IS 'Discarded dead letters and gaps that an operator accepted: nobody waits for them.';

-- Sequences that are missing, and since when; follows ledger.missing in the same transaction.
CREATE TABLE gap (
    store_id  text        COLLATE "C" NOT NULL,
    stream_id uuid        NOT NULL,
    sequences int8range   NOT NULL,
    since     timestamptz NOT NULL,
    PRIMARY KEY (store_id, stream_id, sequences)
);
INSERT INTO gap (store_id, stream_id, sequences, since)
SELECT store_id, stream_id, unnest(missing), last_seen FROM ledger WHERE NOT isempty(missing);

ALTER TABLE dead_letter
    ADD COLUMN times         bigint NOT NULL DEFAULT 1 CHECK (times >= 1),
    ADD COLUMN closed_at     timestamptz,
    ADD COLUMN closed_by     text,
    ADD COLUMN closed_reason text;
COMMENT ON COLUMN dead_letter.times IS 'How often these bytes were refused; last_seen and reasons are of the last time.';
UPDATE dead_letter SET last_seen = first_seen;
CREATE INDEX dead_letter_key ON dead_letter (record_key, id);

ALTER TABLE audit ADD COLUMN reason text;

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
       l.first_seen, l.last_seen
FROM ledger l;
COMMENT ON VIEW v1.streams IS 'complete_through ends before the first sequence that is missing or set aside; told_through is what the agent says.';

CREATE VIEW v1.gaps AS
SELECT store_id AS store, stream_id AS stream, lower(sequences) AS first_sequence,
       upper(sequences) - 1 AS last_sequence, upper(sequences) - lower(sequences) AS sequences, since
FROM gap;

CREATE VIEW v1.stores AS
SELECT s.store_id AS store, s.opened_at,
       coalesce((SELECT t.state FROM store_state t WHERE t.store_id = s.store_id AND t.from_minute <= now()
                  ORDER BY t.from_minute DESC LIMIT 1), 'planned') AS state,
       (SELECT a.stream_id FROM store_stream a WHERE a.store_id = s.store_id AND a.retired_at IS NULL) AS stream,
       (SELECT b.opened_at FROM breaker b WHERE b.store_id = s.store_id) AS breaker_opened_at,
       (SELECT CASE WHEN bool_and(v.complete_through IS NOT NULL) THEN min(v.complete_through) END
          FROM v1.streams v WHERE v.store = s.store_id AND (v.active OR v.gaps > 0 OR v.set_aside > 0)) AS complete_through
FROM store s;
COMMENT ON VIEW v1.stores IS 'complete_through is the least of the active stream and of every stream with a hole.';
