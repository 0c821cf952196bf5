"""A table of a lake, and what reads its files: pyarrow, DuckDB, Polars, fastavro. Each reader gives rows as dicts, times as numbers."""

import gzip
import json
from glob import glob

import duckdb
import fastavro
import polars
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from verdict import Difference

OWN = ["_op", "_sequence", "_position", "_tx_id", "_tx_index", "_commit_ts", "_unavailable", "_exact", "_snapshot"]
# Stands for a value that a reader cannot read; each that has such values says which and why.
UNREAD = type("Unread", (), {"__repr__": lambda self: "unread"})()
# Times as the numbers that they are in the file: Python's own end with the year 9999.
for name in ("int-date", "long-time-micros", "long-timestamp-micros", "long-local-timestamp-micros"):
    fastavro.read.LOGICAL_READERS[name] = lambda number, *_: number


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
        self.names = [column["name"] for column in self.columns]
        if self.layout == "flat":
            self.names = [self.free(name) for name in self.names]

    def free(self, name):
        """The name in a flat file of a column, which gives way to ours."""
        if name in OWN:
            while name in OWN or name in self.names:
                name += "_"
        return name


def with_values(lake, row, made):
    """The same row, each value of the user's as `made` makes it of its kind and itself. In JSON the order is anybody's."""
    own = OWN if lake.layout == "flat" else []
    named = dict(zip(lake.names, lake.kinds))

    def side(columns):
        kinds = iter(lake.kinds)
        kind_of = named.get if lake.format == "json" else lambda _: next(kinds)
        return {name: value if name in own else made(kind_of(name), value) for name, value in columns.items()}

    if lake.layout == "flat":
        return side(row)
    return {name: side(value) if name in ("before", "after") and value is not None else value for name, value in row.items()}


def pyarrow_parquet(lake):
    for path in lake.paths:
        yield from arrow_rows(pq.read_table(path))


def duckdb_parquet(lake):
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        for path in lake.paths:
            yield from arrow_rows(db.sql("FROM read_parquet(?)", params=[path]).to_arrow_table())


def polars_parquet(lake):
    """Polars has no 24:00, the end of a day, and shows null for it."""
    for path in lake.paths:
        for row in arrow_rows(polars.read_parquet(path).to_arrow()):
            yield with_values(lake, row, lambda kind, value: UNREAD if kind == "time" and value is None else value)


def arrow_rows(table):
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


DUCKDB_TYPES = {"bool": "BOOLEAN", "int8": "TINYINT", "uint64": "UBIGINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "float32": "FLOAT",
                "float64": "DOUBLE", "date": "DATE", "time": "TIME", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ"}


def duckdb_json(lake):
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        for path in lake.paths:
            user = [DUCKDB_TYPES.get(kind, kind.upper() if kind.startswith("decimal") else "VARCHAR") for kind in lake.kinds]
            if lake.layout == "flat":
                types = dict(zip(lake.names, user))
                types |= {"_op": "VARCHAR", "_sequence": "BIGINT", "_tx_index": "BIGINT", "_unavailable": "VARCHAR[]",
                          "_exact": "MAP(VARCHAR, VARCHAR)", "_snapshot": "VARCHAR"}
            else:
                side = "STRUCT(" + ", ".join(quoted(name) + " " + kind for name, kind in zip(lake.names, user)) + ")"
                types = {"op": "VARCHAR", "before": side, "after": side, "before_image": "VARCHAR", "unavailable": "VARCHAR[]",
                         "exact": "MAP(VARCHAR, VARCHAR)", "sequence": "BIGINT",
                         "source": "STRUCT(snapshot VARCHAR, tx_index BIGINT)"}
            columns = "{" + ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items()) + "}"
            read = f"FROM read_json({literal(path)}, format = 'newline_delimited', columns = {columns})"
            yield from arrow_rows(db.sql(read).to_arrow_table())


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


READERS = {"parquet": [pyarrow_parquet, duckdb_parquet, polars_parquet], "avro": [fastavro_files],
           "json": [python_json, duckdb_json, polars_json]}
