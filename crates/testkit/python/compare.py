"""Compares a lake with its source, row by row and with native types; says the first difference.

usage: compare.py LAKE SOURCE_URL DATABASE SCHEMA.TABLE…
exit:  0 equal (last line: lake equals source: N tables, M rows), 1 different, 2 could not compare
"""

from collections import Counter

from forms import Column, canonical
from lake import Lake
from source import Source, quoted
from verdict import Difference, end

END = object()


def pairs(expressions):
    return ", ".join(f"{value}, {exact}" for value, exact in expressions)


def cells(row, columns):
    """A row as (value, exact text) for each column."""
    return tuple((canonical(row[2 * i]), row[2 * i + 1]) for i in range(len(columns)))


def stream(cursor):
    while rows := cursor.fetchmany(5000):
        yield from rows


def places(row, columns, key):
    named = {c.name: cell for c, cell in zip(columns, row)}
    return ", ".join(f"{name}={named[name][0]!r}" for name in key)


def first_difference(columns, in_lake, in_source, hidden):
    for column, (a, b) in zip(columns, zip(in_lake, in_source)):
        if a != b and not (column.name in hidden and a == (None, None)):
            return f"column {column.name}: lake {a!r}, source {b!r}"
    return None


def compare_by_key(table, columns, key, lake_rows, source_rows, hidden):
    """Walks through both sides in key order."""
    lake_rows, source_rows, rows = iter(lake_rows), iter(source_rows), 0
    while True:
        a, b = next(lake_rows, END), next(source_rows, END)
        if a is END and b is END:
            return rows
        if b is END:
            raise Difference(f"{table}: only in the lake: {places(cells(a, columns), columns, key)}")
        if a is END:
            raise Difference(f"{table}: only in the source: {places(cells(b, columns), columns, key)}")
        unavailable = hidden if hidden is None else set(a[-1] or [])
        a, b = cells(a, columns), cells(b, columns)
        at = [i for i, c in enumerate(columns) if c.name in key]
        if [a[i] for i in at] != [b[i] for i in at]:
            raise Difference(f"{table}: the lake has {places(a, columns, key)} where the source has {places(b, columns, key)}")
        found = first_difference(columns, a, b, unavailable or set())
        if found:
            raise Difference(f"{table}: {places(a, columns, key)}: {found}")
        rows += 1


def compare_keyed(lake, source, table, full_name, columns, key):
    by_name = {c.name: c for c in columns}
    lake_shown = pairs(c.in_lake() for c in columns) + ", _unavailable"
    source_shown = pairs(c.in_source() for c in columns)
    source_order = ", ".join(by_name[k].order(by_name[k].in_source()[0]) for k in key)
    lake_order = ", ".join(f"({by_name[k].in_lake()[0]})" for k in key)

    def source_rows():
        return source.rows(full_name, source_shown, source_order)

    missing = lake.unavailable()
    rows = compare_by_key(table, columns, key, stream(lake.simple(key, lake_shown, lake_order)), source_rows(), set())
    if missing:
        filled = lake.filled(key, missing, lake_shown, lake_order)
        compare_by_key(table, columns, key, stream(filled), source_rows(), None)
    return rows


def compare_counted(lake, source, table, full_name, columns):
    lake_shown = pairs(c.in_lake() for c in columns)
    found = Counter()
    for row in stream(lake.counted([c.name for c in columns], lake_shown, lake.snapshot(table))):
        found[cells(row, columns)] += row[-1]
    wanted = Counter(cells(row, columns) for row in source.rows(full_name, pairs(c.in_source() for c in columns), None))
    for row in found.keys() | wanted.keys():
        if found[row] != wanted[row]:
            raise Difference(f"{table}: {found[row]} times in the lake, {wanted[row]} times in the source: {row!r}")
    return sum(wanted.values())


def compare_table(lake, source, database, name):
    schema, table = name.split(".", 1)
    full_name, in_lake = f"{quoted(schema)}.{quoted(table)}", f"{database}.{schema}.{table}"
    types = lake.open(in_lake)
    described = source.columns(full_name)
    if types is None:
        if next(source.rows(full_name, "1", None), END) is not END:
            raise Difference(f"{in_lake}: the lake has no file of it, the source has rows")
        return 0
    columns = [Column(column, kind, full_type, types.get(column, "")) for column, kind, full_type in described]
    for column in columns:
        if column.lake_type != column.expected_type():
            raise Difference(f"{in_lake}: column {column.name}: type {column.lake_type or 'absent'}, not {column.expected_type()}")
    key = source.key(full_name)
    if key:
        return compare_keyed(lake, source, in_lake, full_name, columns, key)
    return compare_counted(lake, source, in_lake, full_name, columns)


def main(arguments):
    root, url, database, *tables = arguments
    lake, source = Lake(root), Source(url)
    rows = sum(compare_table(lake, source, database, table) for table in tables)
    print(f"lake equals source: {len(tables)} tables, {rows} rows")


if __name__ == "__main__":
    end(main)
