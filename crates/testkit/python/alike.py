"""Reads one table in lakes of every format and layout, each with every reader there is for it, and says where two differ.

usage: alike.py [--all] TABLE LAKE…          (TABLE as commits have it; each lake has the same changes; --all: Spark and ClickHouse too)
exit:  0 equal (last line: alike: N readings, M rows), 1 different, 2 could not compare
"""

import base64
import decimal
import os
import struct

import duckdb

from readers import OWN, READERS, UNREAD, Lake
from verdict import Difference, end


def canonical(kind, value):
    """A value of any reader in the form in which equal values are equal."""
    if value is None or value is UNREAD:
        return value
    if kind in ("float32", "float64"):
        number = float(str(value).replace("Infinity", "inf")) if isinstance(value, str) else value
        if number != number:
            return "nan"
        return struct.pack("<f", number).hex() if kind == "float32" else struct.pack("<d", number).hex()
    if kind.startswith("decimal"):
        scale = int(kind.rstrip(")").split(",")[1])
        with decimal.localcontext(decimal.Context(prec=60)):
            return str(decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-scale)))
    if kind == "uint64":
        return int(value)
    if kind == "bytes":
        return (base64.b64decode(value) if isinstance(value, str) else bytes(value)).hex()
    if kind in ("date", "time", "timestamp", "timestamptz") and isinstance(value, str):
        return TIMES.number(kind, value)
    return value


class Times:
    """Texts of times as numbers, by DuckDB."""

    def __init__(self):
        self.db, self.known = duckdb.connect(), {}
        self.db.execute("SET TimeZone = 'UTC'")

    def number(self, kind, text):
        if (kind, text) not in self.known:
            asked = {"date": "datediff('day', DATE '1970-01-01', ?::DATE)", "time": "epoch_us(?::TIME)",
                     "timestamp": "epoch_us(?::TIMESTAMP)", "timestamptz": "epoch_us(?::TIMESTAMPTZ)"}[kind]
            self.known[kind, text] = self.db.execute(f"SELECT {asked}", [text]).fetchone()[0]
        return self.known[kind, text]


TIMES = Times()


def plain(row, lake):
    """A row of any layout: op, sequence, snapshot, place in the transaction, columns, what was left out, what is exact, and,
    where the layout has it, the row before."""
    def columns(side):
        if side is None:
            return None
        if lake.format == "json":
            # Not every reader keeps the order of an object's members.
            side = {name: side[name] for name in lake.names}
        values = [value for name, value in side.items() if lake.layout == "envelope" or name not in OWN]
        if len(values) != len(lake.kinds):
            raise Difference(f"{len(values)} columns, not {len(lake.kinds)}: {side}")
        return [canonical(kind, value) for kind, value in zip(lake.kinds, values)]

    if lake.layout == "flat":
        names = lake.names if lake.format == "json" else [name for name in row if name not in OWN]
        op, sequence, snapshot, index = row["_op"], row["_sequence"], row["_snapshot"], row["_tx_index"]
        now, unavailable, exact, before = columns(row), row["_unavailable"], row["_exact"], None
    else:
        side = row["before"] if row["op"] == "d" else row["after"]
        names = lake.names if lake.format == "json" else list(side or {})
        op, sequence, source = row["op"], row["sequence"], row["source"]
        snapshot, index = source["snapshot"], source["tx_index"]
        now, unavailable, exact = columns(side), row["unavailable"], row["exact"]
        image = row["before_image"]
        before = (image, None if image == "none" else columns(row["before"]))
    if op == "t":
        now = None
    original = dict(zip(names, [column["name"] for column in lake.columns]))
    exact = dict(exact) if exact else {}
    # A reader that has to find the members of a map out by itself has all of them in every row.
    exact = {original[name]: text for name, text in exact.items() if text is not None}
    return (sequence, op, index, snapshot, now, sorted(original[name] for name in unavailable or []), exact), before


def reading(lake, reader):
    rows = [plain(row, lake) for row in reader(lake)]
    rows.sort(key=lambda row: (row[0][0], row[0][1], repr(row[0])))
    return rows


def same(one, other):
    """Whether two are equal, as far as both were read."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one is UNREAD or other is UNREAD or one == other


def compare(what, one, other, place):
    if len(one) != len(other):
        raise Difference(f"{what}: {len(other)} rows, not {len(one)}")
    for a, b in zip(one, other):
        if not same(a[place], b[place]):
            raise Difference(f"{what}: {b[place]}\n  not {a[place]}")


def readers_of(form, is_all):
    """Every reader there is for a format."""
    if not is_all:
        return READERS[form]
    import clickhouse_reader
    import spark_reader

    return [*READERS[form], spark_reader.READERS[form], clickhouse_reader.READERS[form]]


def main(arguments):
    is_all = arguments[:1] == ["--all"]
    table, *roots = arguments[1:] if is_all else arguments
    first, first_envelope, readings = None, None, 0
    for root in roots:
        lake = Lake(os.path.abspath(root), table)
        for reader in readers_of(lake.format, is_all):
            what = f"{reader.__name__}, {lake.layout}, {os.path.splitext(lake.paths[0])[1]}"
            rows = reading(lake, reader)
            readings += 1
            first = first or rows
            compare(what, first, rows, 0)
            if lake.layout == "envelope":
                first_envelope = first_envelope or rows
                compare(what + ", before", first_envelope, rows, 1)
    print(f"alike: {readings} readings, {len(first)} rows")


if __name__ == "__main__":
    end(main)
