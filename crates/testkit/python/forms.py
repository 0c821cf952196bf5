"""How a value of each type is shown by both sides, so that equal values look equal and unequal ones never do.

Times become whole microseconds and floats their 64 bits: nothing passes through a text that someone had to round.
"""

from source import quoted

FLOATS = {"float4", "float8"}
PLAIN = {"bool", "int2", "int4", "int8", "oid", "text", "varchar", "bpchar", "bytea"}
# For each: the source's whole number of units, when it is finite, and the lake's.
TIMES = {
    "date": ("{c} - date '1970-01-01'", "datediff('day', DATE '1970-01-01', {c})"),
    "timestamp": ("(extract(epoch from {c}) * 1000000)::bigint", "epoch_us({c})"),
    "timestamptz": ("(extract(epoch from {c}) * 1000000)::bigint", "epoch_us({c})"),
    "time": ("(extract(epoch from {c}) * 1000000)::bigint", "epoch_us({c})"),
}


class Column:
    """One column as both sides show it: a value, or an exact text where the lake's type cannot hold the value."""

    def __init__(self, name, kind, full_type, lake_type):
        self.name, self.kind, self.lake_type = name, kind, lake_type
        self.full_type = full_type

    def in_source(self):
        """Two expressions: the value, null where only its text is exact; and that text."""
        c = quoted(self.name)
        if self.kind in TIMES and self.kind != "time":
            # PostgreSQL counts from 2000: its last 30 years lie beyond 64 bits of microseconds from 1970 on.
            held = f"isfinite({c})" + ("" if self.kind == "date" else f" AND {c} < '294247-01-01'")
            return f"CASE WHEN {held} THEN {TIMES[self.kind][0].format(c=c)} END", f"CASE WHEN NOT ({held}) THEN {c}::text END"
        if self.kind == "time":
            return TIMES["time"][0].format(c=c), "NULL"
        if self.kind == "numeric" and self.lake_type.startswith("DECIMAL"):
            strange = f"{c} IN ('NaN', 'Infinity', '-Infinity')"
            return f"CASE WHEN {strange} THEN NULL ELSE {c} END", f"CASE WHEN {strange} THEN {c}::text END"
        if self.kind in FLOATS:
            return f"{c}::float8", "NULL"
        return (c if self.kind in PLAIN else f"{c}::text"), "NULL"

    def in_lake(self):
        """The same two expressions over the lake's row."""
        c = quoted(self.name)
        if self.kind in TIMES:
            value = TIMES[self.kind][1].format(c=c)
        elif self.kind in FLOATS:
            value = f"{c}::DOUBLE"
        else:
            value = c
        name = self.name.replace("'", "''")
        return value, f"_exact['{name}']"

    def order(self, value):
        """An order that both sides agree on: texts by their bytes."""
        return f'({value})' + (' COLLATE "C"' if self.kind not in TIMES and self.kind not in FLOATS and self.kind not in
                               {"bool", "int2", "int4", "int8", "oid", "bytea", "numeric"} else "")

    def expected_type(self):
        """The type that the lake must have for this column, as DuckDB names it."""
        fixed = {"bool": "BOOLEAN", "int2": "SMALLINT", "int4": "INTEGER", "int8": "BIGINT", "float4": "FLOAT",
                 "float8": "DOUBLE", "bytea": "BLOB", "date": "DATE", "time": "TIME", "timestamp": "TIMESTAMP",
                 "timestamptz": "TIMESTAMP WITH TIME ZONE"}
        if self.kind == "numeric" and "(" in self.full_type:
            precision, scale = map(int, self.full_type[self.full_type.index("(") + 1:-1].split(","))
            return f"DECIMAL({precision},{scale})" if 0 <= scale <= precision <= 38 else "VARCHAR"
        return fixed.get(self.kind, "VARCHAR")


def canonical(value):
    """A value that compares as it should: floats by their bits, as hexadecimal text (any NaN is `nan`), decimals with their scale."""
    if isinstance(value, float):
        return value.hex()
    if hasattr(value, "as_tuple"):
        return str(value)
    return value
