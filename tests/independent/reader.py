"""Sums up lakes with a foreign engine (DuckDB), as often as it is asked.

A line of standard input is a JSON object: `lake`, a folder or an s3:// address, and `endpoint`, the
host and port of an object store, or null. The answer is one line: the sums of the lake's tables, or
`error`. Shares no code with the project, and ends when its standard input does.
"""
import json
import sys

import duckdb
import duckdb_extensions

SUMS = {
    "tills": {
        "batches": "count(distinct concat(store, '/', stream, '/', sequence))",
        "receipts": "sum(receipt_count)",
        "cents": "sum(total_cents)",
    },
    "sales": {"lines": "sum(lines)", "line_cents": "sum(amount_cents)"},
    "stock_movements": {"movements": "count(*)", "movement_milli": "sum(quantity_milli)"},
}
SECRET = """create or replace secret store (type s3, key_id 'fakes', secret 'known-to-all',
    region 'us-east-1', endpoint '{}', use_ssl false, url_style 'path')"""


def connect():
    for extension in ("httpfs", "delta"):
        duckdb_extensions.import_extension(extension)
    connection = duckdb.connect()
    connection.execute("load httpfs; load delta")
    return connection


def read(connection, asked):
    if asked["endpoint"]:
        connection.execute(SECRET.format(asked["endpoint"]))
    found = {}
    for table, sums in SUMS.items():
        query = f"select {', '.join(sums.values())} from delta_scan('{asked['lake']}/{table}')"
        row = connection.execute(query).fetchone()
        found.update({name: int(value or 0) for name, value in zip(sums, row)})
    return found


def main():
    connection = connect()
    for line in sys.stdin:
        try:
            answer = read(connection, json.loads(line))
        except duckdb.Error as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
