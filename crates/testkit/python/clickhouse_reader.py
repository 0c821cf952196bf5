"""ClickHouse, in this process. It has no null for a record, a list or a map: what is null there is empty, or a record of nulls."""

import sys

from readers import UNREAD, arrow_rows, with_values

try:
    import chdb
except ImportError:
    sys.exit("ClickHouse is not in this environment; install it with: cargo xtask setup --all")

SETTINGS = {
    "session_timezone": "'UTC'",
    # There bytes and texts are of one type; what a column has, the registry says.
    "output_format_arrow_string_as_string": "0",
    "date_time_input_format": "'best_effort'",
}
TYPES = {"bool": "Bool", "int8": "Int8", "int16": "Int16", "int32": "Int32", "int64": "Int64", "uint64": "UInt64",
         "float32": "Float32", "float64": "Float64", "date": "Date32", "timestamp": "DateTime64(6, 'UTC')",
         "timestamptz": "DateTime64(6, 'UTC')"}


def clickhouse_parquet(lake):
    """A time of day comes as a moment of the first day of 1970."""
    yield from rows(lake, "Parquet", None)


def clickhouse_avro(lake):
    yield from rows(lake, "Avro", None)


def clickhouse_json(lake):
    """In a text ClickHouse knows no year 0 and takes it for another one."""
    as_texts = rows(lake, "JSONEachRow", structure_of(lake, {"timestamp": "String", "timestamptz": "String"}))
    for row, texts in zip(rows(lake, "JSONEachRow", structure_of(lake, {})), as_texts, strict=True):
        said = []
        with_values(lake, texts, lambda kind, value: said.append(kind.startswith("timestamp") and (value or "").startswith("0000-")))
        years_0 = iter(said)
        yield with_values(lake, row, lambda _, value: UNREAD if next(years_0) else value)


def structure_of(lake, more):
    """The columns of a lake, as somebody writes them down who has read the registry."""
    def type_of(kind):
        return (TYPES | more).get(kind, kind.replace("decimal", "Decimal") if kind.startswith("decimal") else "String")

    columns = [f"{quoted(name)} Nullable({type_of(kind)})" for name, kind in zip(lake.names, lake.kinds)]
    if lake.layout == "flat":
        own = ["_op String", "_sequence Int64", "_tx_index Nullable(Int64)", "_unavailable Array(String)",
               "_exact Map(String, String)", "_snapshot Nullable(String)"]
        return ", ".join(columns + own)
    side = "Tuple(" + ", ".join(columns) + ")"
    return (f"op String, before {side}, after {side}, before_image String, unavailable Array(String), "
            "exact Map(String, String), sequence Int64, source Tuple(snapshot Nullable(String), tx_index Nullable(Int64))")


def rows(lake, form, structure):
    settings = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
    for path in lake.paths:
        source = ", ".join([literal(path), form, *([literal(structure)] if structure else [])])
        table = chdb.query(f"SELECT * FROM file({source}) SETTINGS {settings}", "ArrowTable")
        for row in arrow_rows(table):
            # JSON has bytes as texts.
            if lake.format != "json":
                row = with_values(lake, row, lambda kind, value: Bytes(value) if kind == "bytes" and value is not None else value)
            yield text(row)


class Bytes(bytes):
    """Those that are no text."""


def quoted(text):
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def text(value):
    """The same with its texts as texts."""
    if isinstance(value, bytes) and not isinstance(value, Bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return type(value)(map(text, value))
    return {name: text(one) for name, one in value.items()} if isinstance(value, dict) else value


READERS = {"parquet": clickhouse_parquet, "avro": clickhouse_avro, "json": clickhouse_json}
