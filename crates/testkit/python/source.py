"""Reads the source with its own client library, each value in a form that both sides can show exactly."""

import psycopg2
import psycopg2.extensions

# Columns that the log carries, with their types; generated ones are left out of it.
COLUMNS = """
SELECT a.attname, t.typname, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"""

# The replica identity's index, else the primary key unless it is deferrable.
KEY = """
SELECT a.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, place), pg_attribute a
WHERE i.indrelid = %(t)s::regclass AND a.attrelid = i.indrelid AND a.attnum = k.attnum
  AND i.indexrelid = (SELECT indexrelid FROM pg_index WHERE indrelid = %(t)s::regclass
                      AND (indisreplident OR (indisprimary AND indimmediate)) ORDER BY indisreplident DESC LIMIT 1)
ORDER BY k.place"""


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class Source:
    """One database, seen in one snapshot from the first query on."""

    def __init__(self, url):
        self.db = psycopg2.connect(url)
        self.db.set_session(isolation_level="REPEATABLE READ", readonly=True)
        self.cursor = self.db.cursor()
        self.cursor.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'iso_8601'; SET row_security = off")

    def columns(self, table):
        self.cursor.execute(COLUMNS, [table])
        return self.cursor.fetchall()

    def key(self, table):
        self.cursor.execute(KEY, {"t": table})
        return [name for (name,) in self.cursor.fetchall()]

    def rows(self, table, shown, order):
        """All rows, a few thousand at a time."""
        cursor = self.db.cursor(name="rows")
        cursor.itersize = 5000
        cursor.execute(f"SELECT {shown} FROM ONLY {table}" + (f" ORDER BY {order}" if order else ""))
        for row in cursor:
            yield tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
        cursor.close()
