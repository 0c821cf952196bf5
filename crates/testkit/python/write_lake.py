"""Writes a small lake by hand, for the reader's own test: usage: write_lake.py ROOT

Each table makes one rule of the page matter; `lake/tests.rs` holds the rows that must come out.
"""

import hashlib
import json
import os
import sys
from datetime import datetime, timezone
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

RECORD = [("_op", pa.string()), ("_sequence", pa.int64()), ("_unavailable", pa.list_(pa.string())),
          ("_exact", pa.map_(pa.string(), pa.string())), ("_snapshot", pa.string())]
KEYED = [("id", pa.int32()), ("amount", pa.decimal128(10, 2)), ("at", pa.timestamp("us", tz="UTC")), ("ratio", pa.float32()),
         ("doc", pa.string()), ("raw", pa.binary()), ("big", pa.string())]
LOOSE = [("a", pa.int32()), ("b", pa.string())]
AT = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=timezone.utc)
BIG = ["big"]


def keyed(op, sequence, key, amount=None, at=None, ratio=None, doc=None, raw=None, big=None, unavailable=None, exact=None, snapshot=None):
    amount = None if amount is None else Decimal(amount)
    return [key, amount, at, ratio, doc, raw, big, op, sequence, unavailable, exact, snapshot]


def loose(op, sequence, a, b=None, snapshot=None):
    return [a, b, op, sequence, None, None, snapshot]


FILES = [
    ("things", KEYED, None, [
        keyed("c", 1, 1, "1.50", AT, 0.1, '{"a": 1}', b"\x00\xff", "large one"),
        keyed("c", 2, 2, None, None, float("nan"), exact=[("amount", "NaN"), ("at", "infinity")], big="large two"),
        keyed("c", 3, 3, "3.00", big="gone")]),
    ("things", KEYED, None, [
        keyed("u", 4, 1, "2.50", AT, 0.1, '{"a": 1}', b"\x00\xff", unavailable=BIG),
        keyed("d", 5, 3),
        keyed("d", 6, 2),                                          # a key change: its large text stays
        keyed("c", 7, 4, None, None, float("nan"), exact=[("amount", "NaN"), ("at", "infinity")], unavailable=BIG),
        keyed("u", 8, 4, "9.00", None, -0.0, exact=[("at", "-infinity")], unavailable=BIG)]),
    ("cleared", LOOSE, None, [loose("c", 9, 1, "before"), loose("t", 10, None), loose("c", 11, 2, "after")]),
    # A snapshot row wins over the stream's row with the same sequence, and the later snapshot over the earlier.
    ("tied", LOOSE, None, [loose("c", 12, 1, "stream")]),
    ("tied", LOOSE, "1", [loose("r", 12, 1, "first snapshot", "1")]),
    ("tied", LOOSE, "2", [loose("r", 12, 1, "second snapshot", "2")]),
    ("bag", LOOSE, None, [loose("c", 13, 1, "voided by the anchor")]),
    ("bag", LOOSE, "1", [loose("r", 13, 1, "x", "1"), loose("r", 13, 1, "x", "1"), loose("r", 13, 2, None, "1")]),
    ("bag", LOOSE, None, [loose("c", 14, 1, "x"), loose("d", 15, 1, "x"), loose("d", 16, 2, None), loose("c", 17, 3, "z")]),
    ("bag", LOOSE, None, [loose("c", 18, 4, "removed")]),
]


def main(root):
    commits = f"{root}/_millrace/commits/00000000"
    os.makedirs(commits)
    os.makedirs(f"{root}/_millrace/state")
    tables = []
    for name in sorted({f[0] for f in FILES}):
        done = {"id": "1", "sequence": 13} if name == "bag" else None
        path, digest = stored(root, {"table": f"shop.public.{name}", "snapshot": done})
        tables.append({"table": f"shop.public.{name}", "path": path, "sha256": digest})
    registry, digest = stored(root, {"format": 1, "layout": "flat", "tables": tables})
    paths = []
    for number, (name, columns, snapshot, rows) in enumerate(FILES, 1):
        path = f"shop/public/{name}/v0001/2026-11-22/14/{1:012}-{number:06}-0000.parquet"
        os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
        schema = pa.schema(columns + RECORD)
        arrays = [pa.array([row[i] for row in rows], type=field.type) for i, field in enumerate(schema)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), f"{root}/{path}", compression="zstd")
        paths.append(path)
        commit = {"format": 1, "commit": number, "tables": {"path": registry, "sha256": digest},
                  "files": [{"path": path, "table": f"shop.public.{name}", "snapshot": snapshot}], "removed": []}
        write(f"{commits}/{number:012}.json", json.dumps(commit))
    last = len(FILES) + 1
    write(f"{commits}/{last:012}.json",
          json.dumps({"format": 1, "commit": last, "tables": {"path": registry, "sha256": digest}, "files": [], "removed": [paths[-1]]}))


def stored(root, value):
    text = json.dumps(value)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = f"_millrace/state/{digest}.json"
    write(f"{root}/{path}", text)
    return path, digest


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1])
