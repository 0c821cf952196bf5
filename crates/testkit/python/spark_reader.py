"""Spark, which reads all three formats through a JVM. Run as a program it fetches what it reads Avro with."""

import os
import shutil
import sys

from readers import arrow_rows

INSTALL = "cargo xtask setup --all"
try:
    from pyspark.sql import SparkSession
except ImportError:
    sys.exit(f"Spark is not in this environment; install it with: {INSTALL}")

# The version is that of pyspark in far-readers.txt.
AVRO = "org.apache.spark:spark-avro_2.13:4.2.0"
SETTINGS = {
    "spark.jars.packages": AVRO,
    # What was fetched stays in this environment.
    "spark.jars.ivy": os.path.join(sys.prefix, "ivy"),
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    # Without it Spark refuses a table with a time of day, whatever the format.
    "spark.sql.timeType.enabled": "true",
}
TYPES = {"bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INT", "int64": "BIGINT", "uint64": "DECIMAL(20,0)",
         "float32": "FLOAT", "float64": "DOUBLE", "bytes": "BINARY", "date": "DATE", "timestamp": "TIMESTAMP_NTZ",
         "timestamptz": "TIMESTAMP"}


def session():
    if not os.environ.get("JAVA_HOME") and not shutil.which("java"):
        sys.exit("Java is missing, which Spark runs on; install it with: apt-get install -y openjdk-17-jre-headless")
    builder = SparkSession.builder.master("local[2]").appName("alike")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def spark_parquet(lake):
    for path in lake.paths:
        yield from arrow_rows(session().read.parquet(path).toArrow())


def spark_avro(lake):
    for path in lake.paths:
        yield from arrow_rows(session().read.format("avro").load(path).toArrow())


def spark_json(lake):
    for path in lake.paths:
        yield from arrow_rows(session().read.schema(schema_of(lake)).json(path).toArrow())


def schema_of(lake):
    """The columns of a lake, as somebody writes them down who has read the registry; times of day stay texts."""
    def type_of(kind):
        return TYPES.get(kind, kind.upper() if kind.startswith("decimal") else "STRING")

    columns = [f"{quoted(name)} {type_of(kind)}" for name, kind in zip(lake.names, lake.kinds)]
    if lake.layout == "flat":
        own = ["_op STRING", "_sequence BIGINT", "_tx_index BIGINT", "_unavailable ARRAY<STRING>",
               "_exact MAP<STRING, STRING>", "_snapshot STRING"]
        return ", ".join(columns + own)
    side = "STRUCT<" + ", ".join(columns) + ">"
    return (f"op STRING, before {side}, after {side}, before_image STRING, unavailable ARRAY<STRING>, "
            "exact MAP<STRING, STRING>, sequence BIGINT, source STRUCT<snapshot STRING, tx_index BIGINT>")


def quoted(text):
    return "`" + text.replace("`", "``") + "`"


READERS = {"parquet": spark_parquet, "avro": spark_avro, "json": spark_json}

if __name__ == "__main__":
    session().range(1).count()
