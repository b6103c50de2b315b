"""The lake read by a foreign engine (DuckDB) against Postgres read by psql.

Compares every row group of sales, tills and stock movements, not only the totals. Shares no code
with the project. Takes the environment of a stack (stack.env).
"""
import csv
import os
import subprocess
import sys

import duckdb
import duckdb_extensions

TABLES = {
    "sales": (
        "store, business_day::text, minute, till, article, kind, void::text, coalesce(vat_key, ''), coalesce(vat_bp, -1)",
        "sum(quantity_milli), sum(amount_cents), sum(discount_cents), sum(adjustment_share_cents), sum(lines)",
    ),
    "tills": (
        "store, business_day::text, minute, till, series",
        "sum(receipt_count), sum(lines_cents), sum(tax_added_cents), sum(adjustment_cents), sum(total_cents)",
    ),
    "stock_movements": (
        "store, business_day::text, id, article, kind, unit",
        "sum(quantity_milli), count(*)",
    ),
}


def postgres(query):
    out = subprocess.run(
        ["psql", os.environ["DATABASE_URL"], "--csv", "--tuples-only", "--no-psqlrc", "-c", query],
        check=True, capture_output=True, text=True,
    ).stdout
    return list(csv.reader(out.splitlines()))


def lake():
    duckdb_extensions.import_extension("delta")
    connection = duckdb.connect()
    connection.execute("load delta; set timezone = 'UTC'")
    return connection


def rows_of(keys, sums, relation, minute):
    columns = keys.replace("minute", minute).replace("business_day::text", "cast(business_day as varchar)")
    columns = columns.replace("void::text", "cast(void as varchar)")
    count = len(keys.split(", ")) - keys.count("coalesce(")
    positions = ", ".join(str(n + 1) for n in range(count))
    return f"select {columns}, {sums} from {relation} group by {positions}"


def main():
    connection, failed = lake(), False
    for table, (keys, sums) in TABLES.items():
        ours = rows_of(keys, sums, f"v1.{table}", "to_char(minute at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')")
        path = os.path.join(os.environ["LAKE"], table)
        theirs = rows_of(keys, sums, f"delta_scan('{path}')", "strftime(minute, '%Y-%m-%d %H:%M:%S')")
        stored = {tuple(row) for row in postgres(ours)}
        found = {tuple(str(value) for value in row) for row in connection.execute(theirs).fetchall()}
        print(f"{table}: Postgres {len(stored)} groups, DuckDB on the lake {len(found)} groups", end="")
        if not stored:
            print(": nothing to compare")
            failed = True
        elif stored == found:
            print(": equal")
        else:
            failed = True
            print(": DIFFERENT")
            for name, rows in (("only in Postgres", stored - found), ("only in the lake", found - stored)):
                for row in sorted(rows)[:5]:
                    print(f"  {name}: {row}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
