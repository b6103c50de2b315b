-- The agent's buffer. Times are RFC 3339 UTC texts, amounts cents. A change adds statements at the end.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- How far each feed (a file) of a source is read. The mark is the source's own.
CREATE TABLE source_position (
    source TEXT NOT NULL, feed TEXT NOT NULL, mark TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (source, feed)
) STRICT, WITHOUT ROWID;

-- Receipt numbers seen, as ranges. A spell is the span between two resets of a till's counter
-- within what it calls one series. The purpose is `sale` or `other`.
CREATE TABLE receipt_key (
    till TEXT NOT NULL, series TEXT NOT NULL, purpose TEXT NOT NULL, spell INTEGER NOT NULL,
    ranges TEXT NOT NULL, last_number INTEGER NOT NULL,
    first_at TEXT NOT NULL, last_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    PRIMARY KEY (till, series, purpose, spell)
) STRICT, WITHOUT ROWID;

-- What the receipts held. Ids that are no numbers are kept here as long as ranges are.
CREATE TABLE receipt_hash (
    till TEXT NOT NULL, series TEXT NOT NULL, purpose TEXT NOT NULL, spell INTEGER NOT NULL,
    receipt TEXT NOT NULL, hash BLOB NOT NULL, total_cents INTEGER NOT NULL,
    filled_in INTEGER NOT NULL, is_number INTEGER NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (till, series, purpose, spell, receipt)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_hash_age ON receipt_hash (at);

-- Receipts by what the fiscal device calls them: the same one may come from two sources.
CREATE TABLE fiscal_key (
    tse TEXT NOT NULL, device_transaction INTEGER NOT NULL,
    till TEXT NOT NULL, series TEXT NOT NULL, receipt TEXT NOT NULL,
    total_cents INTEGER NOT NULL, ended_at TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (tse, device_transaction)
) STRICT, WITHOUT ROWID;

-- The last version of receipts that their source may change, as it was counted, and its minute.
CREATE TABLE versioned_receipt (
    till TEXT NOT NULL, series TEXT NOT NULL, receipt TEXT NOT NULL, version INTEGER NOT NULL,
    minute TEXT NOT NULL, business_day TEXT NOT NULL, body TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (till, series, receipt)
) STRICT, WITHOUT ROWID;

-- Which source counts a till; another one may only fill in.
CREATE TABLE till_source (till TEXT PRIMARY KEY, source TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE movement_key (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Receipts, movements, closings and corrections of minutes that are not closed.
CREATE TABLE open_minute (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    minute TEXT NOT NULL, business_day TEXT NOT NULL,
    kind TEXT NOT NULL, alone INTEGER NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE INDEX open_minute_slot ON open_minute (business_day, minute);

-- What rides along with a till's next batch.
CREATE TABLE till_notice (
    till TEXT PRIMARY KEY, duplicates INTEGER NOT NULL, quarantined INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE till_last (
    till TEXT PRIMARY KEY, receipt TEXT NOT NULL, ended_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY,
    minute TEXT NOT NULL, business_day TEXT NOT NULL, kind TEXT NOT NULL,
    headers TEXT NOT NULL, body BLOB NOT NULL,
    receipts INTEGER NOT NULL, lines INTEGER NOT NULL, total_cents INTEGER NOT NULL,
    cut_at TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_slot ON outbox (minute, business_day);

-- Which batches wait for the broker, and when it has confirmed the others: each is in one of the two.
-- Rows of their own, since a batch's row is written anew with its body whatever changes in it.
CREATE TABLE waiting (sequence INTEGER PRIMARY KEY) STRICT;
CREATE TABLE delivered (sequence INTEGER PRIMARY KEY, acked_at TEXT NOT NULL) STRICT;

-- Bytes set aside, once, however much is wrong in them.
CREATE TABLE quarantine_unit (hash BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL REFERENCES quarantine_unit (hash), reason TEXT NOT NULL,
    source TEXT NOT NULL, feed TEXT NOT NULL,
    first_offset INTEGER NOT NULL, end_offset INTEGER NOT NULL,
    seen INTEGER NOT NULL, first_at TEXT NOT NULL, last_at TEXT NOT NULL,
    UNIQUE (hash, reason)
) STRICT;
CREATE INDEX quarantine_age ON quarantine (last_at);

-- What had to be given up and waits for a batch to tell the centre.
CREATE TABLE loss (
    id TEXT PRIMARY KEY, minute TEXT NOT NULL, body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE closing_key (
    id TEXT PRIMARY KEY, hash BLOB NOT NULL, at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Sequences whose batches were unreadable when the buffer was repaired, and the batch that told of them.
CREATE TABLE abandoned (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, told_in INTEGER) STRICT;

-- What this stream's batches hold of a till's business day, from one sequence on, and the batch that
-- told it last; nothing where it changed since.
CREATE TABLE day_digest (
    till TEXT NOT NULL, business_day TEXT NOT NULL, series TEXT NOT NULL,
    first_sequence INTEGER NOT NULL, receipts INTEGER NOT NULL, cents INTEGER NOT NULL,
    keys BLOB NOT NULL, ended INTEGER NOT NULL, told_in INTEGER, updated_at TEXT NOT NULL,
    PRIMARY KEY (till, business_day, series)
) STRICT, WITHOUT ROWID;
CREATE INDEX day_digest_untold ON day_digest (business_day) WHERE told_in IS NULL;
