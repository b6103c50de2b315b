-- What the centre keeps of every store-minute. Readers use the views of schema v1, never these tables.
-- Ids compare by bytes (COLLATE "C"), so that an order here is the order everywhere.

-- How far each partition is judged. A consumer moves it in the transaction that holds the rows.
CREATE TABLE progress (
    topic_generation text        NOT NULL,
    partition        int         NOT NULL CHECK (partition >= 0),
    next_offset      bigint      NOT NULL CHECK (next_offset >= 0),
    last_record      bytea       CHECK (length(last_record) = 32),
    last_appended_at timestamptz,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_generation, partition),
    CHECK ((last_record IS NULL) = (last_appended_at IS NULL)),
    CHECK (next_offset = 0 OR last_record IS NOT NULL)
);
COMMENT ON COLUMN progress.topic_generation IS 'Kafka''s topic id: a topic that is made anew has another one.';
COMMENT ON COLUMN progress.last_record IS 'SHA-256 of the record before next_offset; another one there stops the partition.';

-- What was refused: bytes, headers, coordinates and every reason.
CREATE TABLE dead_letter (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic            text        NOT NULL,
    topic_generation text        NOT NULL,
    partition        int         NOT NULL,
    record_offset    bigint      NOT NULL,
    record_key       bytea,
    headers          jsonb       NOT NULL,
    body             bytea,
    reasons          jsonb       NOT NULL CHECK (jsonb_array_length(reasons) > 0),
    first_seen       timestamptz NOT NULL,
    last_seen        timestamptz NOT NULL DEFAULT now(),
    state            text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    UNIQUE (topic_generation, partition, record_offset)
);
COMMENT ON COLUMN dead_letter.headers IS 'In order: {"name", "value"}, or {"name", "hex"} where the value is no text.';
CREATE INDEX dead_letter_open ON dead_letter (id) WHERE state = 'open';

-- Every consumed record has exactly one row, whatever its verdict; ids are null where nobody can say them.
CREATE TABLE batch (
    topic_generation text        NOT NULL,
    partition        int         NOT NULL,
    record_offset    bigint      NOT NULL,
    store_id         text        COLLATE "C",
    stream_id        uuid,
    sequence         bigint      CHECK (sequence >= 1),
    verdict          text        NOT NULL CHECK (verdict IN ('accepted', 'duplicate', 'refused')),
    hash             bytea       NOT NULL CHECK (length(hash) = 32),
    minute           timestamptz,
    business_day     date,
    kind             text,
    dead_letter_id   bigint      REFERENCES dead_letter (id),
    judged_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_generation, partition, record_offset),
    CHECK ((verdict = 'refused') = (dead_letter_id IS NOT NULL)),
    CHECK ((store_id IS NULL) = (stream_id IS NULL) AND (store_id IS NULL) = (sequence IS NULL)),
    CHECK (verdict = 'refused' OR (store_id IS NOT NULL AND minute IS NOT NULL AND business_day IS NOT NULL))
);
COMMENT ON COLUMN batch.hash IS 'SHA-256 of ce_id, a zero byte and the body: the same sequence with another hash is refused.';
CREATE UNIQUE INDEX batch_counts_once ON batch (store_id, stream_id, sequence) WHERE verdict = 'accepted';
CREATE INDEX batch_set_aside ON batch (store_id, stream_id, sequence) WHERE verdict = 'refused';

-- What became of every sequence of a stream. Rows are never deleted.
CREATE TABLE ledger (
    store_id         text           COLLATE "C" NOT NULL,
    stream_id        uuid           NOT NULL,
    highest_sequence bigint         NOT NULL CHECK (highest_sequence >= 1),
    accepted         int8multirange NOT NULL,
    set_aside        int8multirange NOT NULL,
    complete_through timestamptz,
    first_seen       timestamptz    NOT NULL DEFAULT now(),
    last_seen        timestamptz    NOT NULL DEFAULT now(),
    PRIMARY KEY (store_id, stream_id),
    CHECK (NOT accepted && set_aside)
);

-- Totals per till and series, one row for each in a batch.
CREATE TABLE store_minute (
    store_id             text        COLLATE "C" NOT NULL,
    stream_id            uuid        NOT NULL,
    sequence             bigint      NOT NULL,
    position             int         NOT NULL,
    business_day         date        NOT NULL,
    minute               timestamptz NOT NULL,
    kind                 text        NOT NULL,
    till                 text        COLLATE "C" NOT NULL,
    series               text        COLLATE "C" NOT NULL,
    channel              text        NOT NULL,
    receipts             jsonb       NOT NULL,
    receipt_ids          jsonb       NOT NULL,
    numbers_without_sale jsonb       NOT NULL,
    receipt_count        bigint      NOT NULL CHECK (receipt_count >= 0),
    lines_cents          bigint      NOT NULL,
    tax_added_cents      bigint      NOT NULL,
    adjustment_cents     bigint      NOT NULL,
    total_cents          bigint      NOT NULL,
    voided_cents         bigint      NOT NULL,
    adjustments          jsonb       NOT NULL,
    cash_moves           jsonb       NOT NULL,
    counts               jsonb       NOT NULL,
    PRIMARY KEY (store_id, stream_id, sequence, position),
    CHECK (lines_cents + tax_added_cents + adjustment_cents = total_cents)
);
CREATE INDEX store_minute_day ON store_minute (store_id, business_day);

CREATE TABLE till_vat (
    store_id     text        COLLATE "C" NOT NULL,
    stream_id    uuid        NOT NULL,
    sequence     bigint      NOT NULL,
    position     int         NOT NULL,
    business_day date        NOT NULL,
    minute       timestamptz NOT NULL,
    till         text        COLLATE "C" NOT NULL,
    series       text        COLLATE "C" NOT NULL,
    vat_key      text        NOT NULL,
    vat_bp       int,
    gross_cents  bigint      NOT NULL,
    net_cents    bigint      NOT NULL,
    tax_cents    bigint      NOT NULL,
    PRIMARY KEY (store_id, stream_id, sequence, position)
);

CREATE TABLE till_payment (
    store_id     text        COLLATE "C" NOT NULL,
    stream_id    uuid        NOT NULL,
    sequence     bigint      NOT NULL,
    position     int         NOT NULL,
    business_day date        NOT NULL,
    minute       timestamptz NOT NULL,
    till         text        COLLATE "C" NOT NULL,
    series       text        COLLATE "C" NOT NULL,
    kind         text        NOT NULL,
    cents        bigint      NOT NULL,
    currency     text,
    PRIMARY KEY (store_id, stream_id, sequence, position)
);

-- Rows of sales, append-only; one partition per business day, made before the first row of the day.
CREATE TABLE sale (
    store_id               text        COLLATE "C" NOT NULL,
    stream_id              uuid        NOT NULL,
    sequence               bigint      NOT NULL,
    position               int         NOT NULL,
    business_day           date        NOT NULL,
    minute                 timestamptz NOT NULL,
    till                   text        COLLATE "C" NOT NULL,
    article                text        COLLATE "C" NOT NULL,
    text                   text,
    kind                   text        NOT NULL,
    void                   boolean     NOT NULL,
    unit                   text        COLLATE "C" NOT NULL,
    vat_key                text,
    vat_bp                 int,
    seller                 text,
    restock                boolean,
    moves_stock            boolean     NOT NULL,
    quantity_milli         bigint      NOT NULL,
    amount_cents           bigint      NOT NULL,
    discount_cents         bigint      NOT NULL,
    adjustment_share_cents bigint      NOT NULL,
    lines                  bigint      NOT NULL CHECK (lines >= 1),
    PRIMARY KEY (store_id, stream_id, sequence, position, business_day)
) PARTITION BY RANGE (business_day);
COMMENT ON COLUMN sale.moves_stock IS 'Own goods sold, or returned to the shelf; takes effect at the end of the minute.';
CREATE INDEX sale_stock ON sale (store_id, article, unit, minute) WHERE moves_stock;

-- The same sums per article and day, kept beside the rows: two ways to one figure.
CREATE TABLE article_day (
    store_id               text        COLLATE "C" NOT NULL,
    business_day           date        NOT NULL,
    article                text        COLLATE "C" NOT NULL,
    kind                   text        COLLATE "C" NOT NULL,
    unit                   text        COLLATE "C" NOT NULL,
    own                    boolean     NOT NULL,
    quantity_milli         bigint      NOT NULL,
    amount_cents           bigint      NOT NULL,
    discount_cents         bigint      NOT NULL,
    adjustment_share_cents bigint      NOT NULL,
    lines                  bigint      NOT NULL,
    updated_at             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (store_id, business_day, article, kind, unit, own)
);
COMMENT ON COLUMN article_day.own IS 'False for goods of other sellers: neither turnover nor stock of ours.';

CREATE TABLE stock_movement (
    store_id       text        COLLATE "C" NOT NULL,
    movement_id    text        COLLATE "C" NOT NULL,
    stream_id      uuid        NOT NULL,
    sequence       bigint      NOT NULL,
    position       int         NOT NULL,
    business_day   date        NOT NULL,
    minute         timestamptz NOT NULL,
    article        text        COLLATE "C" NOT NULL,
    kind           text        NOT NULL,
    effect         text        NOT NULL CHECK (effect IN ('none', 'change', 'count')),
    unit           text        COLLATE "C" NOT NULL,
    quantity_milli bigint      NOT NULL,
    occurred_at    timestamptz NOT NULL,
    order_id       text,
    counterparty   text,
    reason         text,
    best_before    date,
    lot            text,
    PRIMARY KEY (store_id, movement_id)
);
COMMENT ON TABLE stock_movement IS 'A document''s line counts once: a batch with a known id is refused whole.';
CREATE INDEX stock_movement_article ON stock_movement (store_id, article, unit, occurred_at) WHERE effect = 'change';

-- On hand = the last count + the changes later than it. The later count wins; at the same instant the larger id.
CREATE TABLE stock (
    store_id      text        COLLATE "C" NOT NULL,
    article       text        COLLATE "C" NOT NULL,
    unit          text        COLLATE "C" NOT NULL,
    on_hand_milli bigint      NOT NULL,
    counted_at    timestamptz,
    counted_id    text        COLLATE "C",
    counted_milli bigint,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (store_id, article, unit),
    CHECK ((counted_at IS NULL) = (counted_id IS NULL) AND (counted_at IS NULL) = (counted_milli IS NULL))
);

-- Receipt numbers that a till delivered within a stream.
CREATE TABLE receipt_range (
    store_id     text           COLLATE "C" NOT NULL,
    till         text           COLLATE "C" NOT NULL,
    series       text           COLLATE "C" NOT NULL,
    stream_id    uuid           NOT NULL,
    receipts     int8multirange NOT NULL,
    without_sale int8multirange NOT NULL,
    PRIMARY KEY (store_id, till, series, stream_id)
);

CREATE TABLE till_closing (
    store_id         text           COLLATE "C" NOT NULL,
    tills            text[]         COLLATE "C" NOT NULL,
    closing          text           COLLATE "C" NOT NULL,
    source           text           COLLATE "C" NOT NULL,
    stream_id        uuid           NOT NULL,
    sequence         bigint         NOT NULL,
    business_day     date           NOT NULL,
    opened_at        timestamptz,
    closed_at        timestamptz    NOT NULL,
    receipts         jsonb          NOT NULL,
    total_cents      bigint         NOT NULL,
    cases            jsonb          NOT NULL,
    payments         jsonb          NOT NULL,
    cash_moves       jsonb          NOT NULL,
    supersedes       text,
    PRIMARY KEY (store_id, tills, closing, source)
);

-- What agents had to give up, and what they corrected; both are rare and kept as they were told.
CREATE TABLE loss (
    store_id  text        COLLATE "C" NOT NULL,
    loss_id   text        COLLATE "C" NOT NULL,
    stream_id uuid        NOT NULL,
    sequence  bigint      NOT NULL,
    till      text,
    minute    timestamptz NOT NULL,
    count     bigint      NOT NULL,
    cents     bigint      NOT NULL,
    reason    text        NOT NULL,
    PRIMARY KEY (store_id, loss_id)
);

CREATE TABLE correction (
    store_id     text   COLLATE "C" NOT NULL,
    stream_id    uuid   NOT NULL,
    sequence     bigint NOT NULL,
    position     int    NOT NULL,
    business_day date   NOT NULL,
    till         text   NOT NULL,
    series       text   NOT NULL,
    receipt      text   NOT NULL,
    total_cents  bigint NOT NULL,
    PRIMARY KEY (store_id, stream_id, sequence, position)
);

-- What operators did.
CREATE TABLE audit (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text        NOT NULL,
    action  text        NOT NULL,
    details jsonb       NOT NULL
);

CREATE SCHEMA v1;
COMMENT ON SCHEMA v1 IS 'What readers may use. Supplements make several rows per minute and till: always sum.';

CREATE VIEW v1.sales AS
SELECT store_id AS store, business_day, minute, till, article, kind, unit, quantity_milli, amount_cents,
       discount_cents, adjustment_share_cents, vat_key, vat_bp, void, lines, text, seller, restock,
       stream_id AS stream, sequence
FROM sale;

CREATE VIEW v1.tills AS
SELECT store_id AS store, business_day, minute, till, series, receipt_count, lines_cents, tax_added_cents,
       adjustment_cents, total_cents, channel, voided_cents, receipts, receipt_ids, numbers_without_sale,
       counts, kind AS batch_kind, stream_id AS stream, sequence
FROM store_minute;

CREATE VIEW v1.till_vat AS
SELECT store_id AS store, business_day, minute, till, series, vat_key, vat_bp, gross_cents, net_cents,
       tax_cents, stream_id AS stream, sequence
FROM till_vat;

CREATE VIEW v1.till_payments AS
SELECT store_id AS store, business_day, minute, till, series, kind, cents, currency, stream_id AS stream, sequence
FROM till_payment;

CREATE VIEW v1.closings AS
SELECT store_id AS store, business_day, tills, closing, source, opened_at, closed_at, receipts, total_cents,
       cases, payments, cash_moves, supersedes, stream_id AS stream, sequence
FROM till_closing;

CREATE VIEW v1.stock_movements AS
SELECT store_id AS store, business_day, minute, movement_id AS id, article, kind, unit, quantity_milli,
       occurred_at, order_id AS "order", counterparty, reason, best_before, lot, stream_id AS stream, sequence
FROM stock_movement;

CREATE VIEW v1.stock AS
SELECT store_id AS store, article, unit, on_hand_milli, counted_at, counted_milli, updated_at
FROM stock;

CREATE VIEW v1.losses AS
SELECT store_id AS store, loss_id AS id, till, minute, count, cents, reason, stream_id AS stream, sequence
FROM loss;

CREATE VIEW v1.streams AS
SELECT l.store_id AS store, l.stream_id AS stream, l.highest_sequence,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(l.accepted) r) AS accepted,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest(l.set_aside) r) AS set_aside,
       (SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint
          FROM unnest(int8multirange(int8range(1, l.highest_sequence, '[]')) - l.accepted - l.set_aside) r) AS gaps,
       l.complete_through
FROM ledger l;
