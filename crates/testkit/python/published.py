"""Runs the SQL of a page of the docs on a lake, as it stands there, and prints what each block shows: `published.py PAGE HEADING LAKE`.

One line of JSON for each block that ends with a query: its rows without the columns of the lake's own, each value as text.
"""

import json
import re
import sys

import duckdb


def main(page, heading, lake):
    with open(page, encoding="utf-8") as file:
        section = file.read().split(f"\n{heading}\n", 1)[1]
    db = duckdb.connect()
    for block in re.findall(r"```sql\n(.*?)```", section, re.S):
        statements = [s.strip() for s in block.replace("'./lake'", f"'{lake}'").split(";\n") if s.strip()]
        rows = None
        for statement in statements:
            if statement.startswith(("WITH", "SELECT", "FROM")):
                rows = db.execute(f"SELECT COLUMNS(*)::VARCHAR FROM ({statement.rstrip(';')})")
            else:
                db.execute(statement)
                rows = None
        if rows is not None:
            shown = [i for i, column in enumerate(rows.description) if not column[0].startswith("_")]
            print(json.dumps([[row[i] for i in shown] for row in rows.fetchall()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
