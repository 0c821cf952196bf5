"""Reads one table in lakes of every format and layout, each with every reader there is for it, and says where two differ.

usage: alike.py TABLE LAKE…          (TABLE as commits have it; each lake has the same changes)
exit:  0 equal (last line: alike: N readings, M rows), 1 different, 2 could not compare
"""

import base64
import decimal
import gzip
import json
import os
import struct
import sys
import traceback
from glob import glob

import duckdb
import fastavro
import polars
import pyarrow as pa
import pyarrow.parquet as pq

OWN = ["_op", "_sequence", "_position", "_tx_id", "_tx_index", "_commit_ts", "_unavailable", "_exact", "_snapshot"]
# Times as the numbers that they are in the file: Python's own end with the year 9999.
for name in ("int-date", "long-time-micros", "long-timestamp-micros", "long-local-timestamp-micros"):
    fastavro.read.LOGICAL_READERS[name] = lambda number, *_: number


class Difference(Exception):
    pass


def json_of(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Lake:
    """One table of a lake: its files, and its columns as the registry has them."""

    def __init__(self, root, table):
        commits = [json_of(path) for path in sorted(glob(f"{root}/_millrace/commits/*/*.json"))]
        gone = {path for commit in commits for path in commit["removed"]}
        named = [f for commit in commits for f in commit["files"] if f["table"] == table and f["path"] not in gone]
        self.paths = [f"{root}/{f['path']}" for f in named]
        registry = json_of(f"{root}/{commits[-1]['tables']['path']}")
        self.format, self.layout = registry["format"], registry["layout"]
        entry = next(entry for entry in registry["tables"] if entry["table"] == table)
        self.columns = json_of(f"{root}/{entry['path']}")["versions"][-1]["columns"]
        self.kinds = [column["kind"] for column in self.columns]

    def readers(self):
        readers = {"parquet": [pyarrow_parquet, duckdb_parquet, polars_parquet], "avro": [fastavro_files],
                   "json": [python_json, duckdb_json, polars_json]}
        return readers[self.format]


# ---- readers: each gives rows as dicts ----


def pyarrow_parquet(lake):
    for path in lake.paths:
        yield from arrow_rows(lake, pq.read_table(path))


def duckdb_parquet(lake):
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        for path in lake.paths:
            yield from arrow_rows(lake, db.sql("FROM read_parquet(?)", params=[path]).to_arrow_table())


def polars_parquet(lake):
    for path in lake.paths:
        yield from arrow_rows(lake, polars.read_parquet(path).to_arrow())


def arrow_rows(lake, table):
    """Rows of an Arrow table; times as whole numbers."""
    table = pa.table([numbers(column.combine_chunks()) for column in table.columns], names=table.column_names)
    for row in table.to_pylist():
        yield row


def numbers(array):
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_struct(kind):
        fields = [numbers(array.field(i)) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(fields, [kind.field(i).name for i in range(kind.num_fields)], mask=array.is_null())
    if pa.types.is_date(kind):
        return array.cast(pa.int32())
    if pa.types.is_time(kind):
        return pa.compute.divide(array.cast(pa.int64()), 1000) if kind.unit == "ns" else array.cast(pa.int64())
    if pa.types.is_timestamp(kind):
        return array.cast(pa.int64())
    return array


def fastavro_files(lake):
    for path in lake.paths:
        with open(path, "rb") as file:
            reader = fastavro.reader(file)
            schema = json.loads(reader.metadata["avro.schema"])
            check_avro(lake, schema)
            yield from reader


def check_avro(lake, schema):
    """That the properties of the fields say which column they are."""
    fields = schema["fields"]
    if lake.layout == "envelope":
        fields = next(field for field in fields if field["name"] == "after")["type"][1]["fields"]
    for field, column in zip(fields, lake.columns):
        said = (field["column-name"], field["column-id"], field["column-kind"])
        if said != (column["name"], column["id"], column["kind"]) or field["type"][0] != "null" or "default" in field:
            raise Difference(f"the field {field} is not the column {column}")


def text_of(path):
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8").read()
    return pa.input_stream(path, compression="zstd" if path.endswith(".zst") else None).read().decode()


def python_json(lake):
    for path in lake.paths:
        for line in text_of(path).splitlines():
            yield json.loads(line, parse_float=str)


def polars_json(lake):
    """Polars takes every value of the user's for a text."""
    for path in lake.paths:
        text = text_of(path)
        frame = polars.read_ndjson(text.encode(), infer_schema_length=None)
        yield from frame.to_dicts()


DUCKDB_TYPES = {"bool": "BOOLEAN", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "float32": "FLOAT",
                "float64": "DOUBLE", "date": "DATE", "time": "TIME", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ"}


def duckdb_json(lake):
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        for path in lake.paths:
            first = json.loads(text_of(path).splitlines()[0])
            user = [DUCKDB_TYPES.get(kind, kind.upper() if kind.startswith("decimal") else "VARCHAR") for kind in lake.kinds]
            if lake.layout == "flat":
                names = [name for name in first if name not in OWN]
                types = dict(zip(names, user))
                types |= {"_op": "VARCHAR", "_sequence": "BIGINT", "_tx_index": "BIGINT", "_unavailable": "VARCHAR[]",
                          "_exact": "MAP(VARCHAR, VARCHAR)", "_snapshot": "VARCHAR"}
            else:
                side = "STRUCT(" + ", ".join(quoted(c["name"]) + " " + kind for c, kind in zip(lake.columns, user)) + ")"
                types = {"op": "VARCHAR", "before": side, "after": side, "before_image": "VARCHAR", "unavailable": "VARCHAR[]",
                         "exact": "MAP(VARCHAR, VARCHAR)", "sequence": "BIGINT",
                         "source": "STRUCT(snapshot VARCHAR, tx_index BIGINT)"}
            columns = "{" + ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items()) + "}"
            read = f"FROM read_json({literal(path)}, format = 'newline_delimited', columns = {columns})"
            yield from arrow_rows(lake, db.sql(read).to_arrow_table())


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


# ---- one form for all ----


def canonical(kind, value):
    """A value of any reader in the form in which equal values are equal."""
    if value is None:
        return None
    if kind in ("float32", "float64"):
        number = float(str(value).replace("Infinity", "inf")) if isinstance(value, str) else value
        if number != number:
            return "nan"
        return struct.pack("<f", number).hex() if kind == "float32" else struct.pack("<d", number).hex()
    if kind.startswith("decimal"):
        scale = int(kind.rstrip(")").split(",")[1])
        with decimal.localcontext(decimal.Context(prec=60)):
            return str(decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-scale)))
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
            side = {column["name"]: side[column["name"]] for column in lake.columns}
        values = [value for name, value in side.items() if lake.layout == "envelope" or name not in OWN]
        if len(values) != len(lake.kinds):
            raise Difference(f"{len(values)} columns, not {len(lake.kinds)}: {side}")
        return [canonical(kind, value) for kind, value in zip(lake.kinds, values)]

    if lake.layout == "flat":
        names = [column["name"] for column in lake.columns] if lake.format == "json" else [n for n in row if n not in OWN]
        op, sequence, snapshot, index = row["_op"], row["_sequence"], row["_snapshot"], row["_tx_index"]
        now, unavailable, exact, before = columns(row), row["_unavailable"], row["_exact"], None
    else:
        side = row["before"] if row["op"] == "d" else row["after"]
        names = [column["name"] for column in lake.columns] if lake.format == "json" else list(side or {})
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


def compare(what, one, other, place):
    if len(one) != len(other):
        raise Difference(f"{what}: {len(other)} rows, not {len(one)}")
    for a, b in zip(one, other):
        if a[place] != b[place]:
            raise Difference(f"{what}: {b[place]}\n  not {a[place]}")


def main(arguments):
    table, *roots = arguments
    first, first_envelope, readings = None, None, 0
    for root in roots:
        lake = Lake(os.path.abspath(root), table)
        for reader in lake.readers():
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
    try:
        main(sys.argv[1:])
    except Difference as difference:
        print(f"first difference: {difference}")
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(2)
