"""Reads a lake as any user would: with DuckDB and the queries of docs/specs/file-lake.md, knowing nothing of our code."""

import json
import os
from glob import glob

import duckdb

FILES = """
CREATE OR REPLACE TEMP TABLE files AS WITH c AS (SELECT * FROM read_json(getvariable('lake') || '/_millrace/commits/*/*.json',
    columns = {files: 'STRUCT(path VARCHAR, "table" VARCHAR)[]', removed: 'VARCHAR[]'})), gone AS (SELECT unnest(removed) p FROM c)
  SELECT f.path, f."table" t FROM (SELECT unnest(files) f FROM c) WHERE f.path NOT IN (SELECT p FROM gone)"""

# A truncate voids every row below it.
ALIVE = "_sequence >= (SELECT coalesce(max(_sequence), 0) FROM r WHERE _op = 't')"
FLAT = "r AS (FROM read_parquet(getvariable('paths'), union_by_name = true))"
ENVELOPE = "r AS (FROM flat(getvariable('paths')))"
MACRO = """
CREATE OR REPLACE MACRO flat(paths) AS TABLE
  SELECT unnest(CASE WHEN op = 'd' THEN before ELSE after END), op AS _op, sequence AS _sequence, source.position AS _position, source.tx_id AS _tx_id,
         source.tx_index AS _tx_index, make_timestamptz(source.ts_us) AS _commit_ts, unavailable AS _unavailable, exact AS _exact, source.snapshot AS _snapshot
  FROM read_parquet(paths, union_by_name = true)"""


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class Lake:
    """A lake of Parquet files on the local disk."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        self.db.execute("SET VARIABLE lake = ?", [self.root])
        self.db.execute(FILES)
        self.db.execute(MACRO)
        self.row_source = ENVELOPE if self.registry()["layout"] == "envelope" else FLAT

    def open(self, table):
        """Turns to one table; the types of its user columns by name, or None where the lake has no file of it."""
        paths = [p for (p,) in self.db.execute("SELECT path FROM files WHERE t = ?", [table]).fetchall()]
        if not paths:
            return None
        self.db.execute("SET VARIABLE paths = ?", [[f"{self.root}/{p}" for p in paths]])
        described = self.db.execute(f"DESCRIBE WITH {self.row_source} FROM r").fetchall()
        return {name: kind for name, kind, *_ in described if not name.startswith("_")}

    def unavailable(self):
        """The columns of the open table that are unavailable in at least one row."""
        found = self.db.execute(f"WITH {self.row_source} SELECT DISTINCT unnest(_unavailable) FROM r").fetchall()
        return sorted(name for (name,) in found)

    def simple(self, key, shown, order):
        """The state by key: the newest row of each key; an unavailable column shows as null."""
        keys = ", ".join(map(quoted, key))
        return self.db.execute(f"""
            WITH {self.row_source}
            SELECT {shown} FROM (SELECT *, row_number() OVER (PARTITION BY {keys}
                                     ORDER BY _sequence DESC, _op = 'r' DESC, _snapshot::BIGINT DESC) AS _newest
                                 FROM r WHERE {ALIVE}) WHERE _newest = 1 AND _op NOT IN ('d', 't') ORDER BY {order}""")

    def filled(self, key, missing, shown, order):
        """The state by key, where an unavailable column takes its value from the row that it was left from."""
        keys = ", ".join(map(quoted, key))
        last_known = ", ".join(
            f"arg_min({{'v': {quoted(c)}, 'x': _exact}}, _depth) FILTER (WHERE NOT coalesce(list_contains(_unavailable, {literal(c)}), false))"
            f" AS {quoted(c)}" for c in missing)
        taken = ", ".join(f"f.{quoted(c)}.v AS {quoted(c)}" for c in missing)
        without = ", ".join(map(quoted, missing))
        # What a value's type cannot hold lies in `_exact` of the row that has the value, so it travels along.
        exact = "p._exact"
        for c in missing:
            name = literal(c)
            exact = f"""CASE WHEN f.{quoted(c)}.x[{name}] IS NULL THEN {exact}
                        ELSE map_concat(coalesce({exact}, MAP {{}}), MAP {{{name}: f.{quoted(c)}.x[{name}]}}) END"""
        return self.db.execute(f"""
            WITH RECURSIVE {self.row_source},
            o AS (SELECT *, lag(_row) OVER w AS _from, lead(_row) OVER w IS NULL AS _last
                  FROM (SELECT *, row_number() OVER () AS _row FROM r WHERE {ALIVE} AND _op <> 't')
                  WINDOW w AS (PARTITION BY {keys} ORDER BY _sequence, _op = 'r', _snapshot::BIGINT NULLS FIRST)),
            p AS (SELECT o.* EXCLUDE (_from), CASE WHEN o._op = 'c' THEN d._from ELSE o._from END AS _from
                  FROM o LEFT JOIN o AS d ON d._sequence = o._sequence - 1 AND d._op = 'd' AND o._op = 'c'
                       AND o._unavailable IS NOT NULL),
            walk AS (SELECT _row AS _root, _row, 0 AS _depth FROM p WHERE _last AND _op <> 'd'
                     UNION ALL SELECT _root, p._from, _depth + 1 FROM walk JOIN p USING (_row)
                     WHERE p._unavailable IS NOT NULL AND p._from IS NOT NULL),
            f AS (SELECT _root AS _row, {last_known} FROM walk JOIN p USING (_row) GROUP BY _root),
            state AS (SELECT p.* EXCLUDE ({without}, _row, _last, _from, _exact), {taken}, {exact} AS _exact
                      FROM p JOIN f USING (_row))
            SELECT {shown} FROM state ORDER BY {order}""")

    def counted(self, columns, shown, snapshot):
        """The state of a table without a key: each distinct row, and how often it is there."""
        ident, anchor = snapshot
        names = ", ".join(map(quoted, columns))
        return self.db.execute(f"""
            WITH {self.row_source},
            counted AS (SELECT {names}, _exact, sum(CASE _op WHEN 'd' THEN -1 ELSE 1 END)::BIGINT AS times FROM r
                WHERE {ALIVE} AND _op <> 't' AND (_snapshot = ? OR (_op <> 'r' AND _sequence > ?)) GROUP BY ALL)
            SELECT {shown}, times FROM counted WHERE times <> 0""", [ident, anchor])

    def registry(self):
        newest = json_of(max(glob(f"{self.root}/_millrace/commits/*/*.json")))
        return json_of(f"{self.root}/{newest['tables']['path']}")

    def snapshot(self, table):
        """Id and anchor of the table's finished snapshot, from the registry of the newest commit; none: all of the stream."""
        for entry in self.registry()["tables"]:
            if entry["table"] == table:
                done = json_of(f"{self.root}/{entry['path']}")["snapshot"]
                return (str(done["id"]), done["sequence"]) if done else (None, 0)
        return None, 0


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def json_of(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)
