//! The fields of the pipeline file: the table that `shape` describes.

use crate::fault::Wrong;
use crate::shape::{Case, Field, Shape, Word, later, now};

/// The whole file.
pub(crate) const FILE: Shape = Shape::Map(&[
    Field::required("version", Shape::Whole { least: 1, most: 1 }, "version of this format: 1"),
    Field::required("name", Shape::Text(refuse_name), "name of the pipeline; without a hub it is the pipeline"),
    Field::optional("projectId", Shape::Text(refuse_empty), "project on a hub; means nothing without one"),
    Field::optional("agentId", Shape::Text(refuse_empty), "agent on a hub; means nothing without one"),
    Field::required(
        "streamingSource",
        Shape::Tagged { cases: SOURCES, later: LATER_SOURCES },
        "where changes come from",
    ),
    Field::required("streamingTarget", Shape::Tagged { cases: TARGETS, later: LATER_TARGETS }, "where changes go to"),
    Field::optional("advancedProperties", Shape::Advanced, "fine tuning; every value is a text"),
]);

const LATER_SOURCES: &[&str] = &["sqlserver", "oracle", "db2ibmi"];
const LATER_TARGETS: &[&str] = &["snowflake", "iceberg", "delta"];

const SOURCES: &[Case] = &[
    Case {
        word: "postgres",
        built: true,
        fields: &[
            Field::required("connection", Shape::Map(&[HOST, PORT, DATABASE, USERNAME, PASSWORD, JDBC]), CONNECTION),
            TABLES,
        ],
    },
    Case {
        word: "mysql",
        built: false,
        fields: &[
            Field::required("connection", Shape::Map(&[HOST, PORT, USERNAME, PASSWORD, JDBC]), CONNECTION),
            TABLES,
        ],
    },
];

const CONNECTION: &str = "how to reach the database";
const HOST: Field = Field::required("host", Shape::Text(refuse_host), "name or address of the server");
const PORT: Field = Field::required("port", Shape::Whole { least: 1, most: 65_535 }, "its port");
const DATABASE: Field = Field::required("database", Shape::Text(refuse_empty), "name of the database");
const USERNAME: Field = Field::required("username", Shape::Text(refuse_empty), "user to log in as");
const PASSWORD: Field = Field::optional(
    "password",
    Shape::Secret,
    "reference to its password; may be left out where the server asks for none",
);
const JDBC: Field =
    Field::optional("jdbcProperties", Shape::Texts, "properties of the connection; every value is a text");
const TABLES: Field = Field::required(
    "tables",
    Shape::List(&Shape::Map(&[
        Field::required("schema", Shape::Text(refuse_schema), "schema of the table; for mysql its database"),
        Field::required(
            "table",
            Shape::Text(refuse_empty),
            "name of the table; `*` for all of the schema, later ones too",
        ),
    ])),
    "the tables to stream, at least one",
);

const TARGETS: &[Case] = &[
    Case {
        word: "local",
        built: true,
        fields: &[
            Field::required("path", Shape::Text(refuse_empty), "folder; a relative one is relative to this file"),
            PREFIX,
            FORMAT,
            LAYOUT,
            COMPRESSION,
            DECIMALS,
        ],
    },
    Case {
        word: "s3",
        built: false,
        fields: &[
            BUCKET,
            PREFIX,
            FORMAT,
            LAYOUT,
            COMPRESSION,
            DECIMALS,
            Field::optional("region", Shape::Text(refuse_empty), "region of the bucket"),
            ENDPOINT,
            Field::optional("pathStyle", Shape::Bool, "address the bucket in the path"),
            Field::optional("kmsKeyId", Shape::Text(refuse_empty), "key to encrypt with"),
            STORAGE_CLASS,
            Field::optional("requesterPays", Shape::Bool, "the requester pays"),
            Field::optional("tags", Shape::Texts, "tags of every object"),
            Field::optional("roleArn", Shape::Text(refuse_empty), "role to assume"),
            Field::optional("externalId", Shape::Text(refuse_empty), "external id for the role"),
        ],
    },
    Case {
        word: "abs",
        built: false,
        fields: &[
            Field::required("container", Shape::Text(refuse_empty), "name of the container"),
            Field::required("accountName", Shape::Text(refuse_empty), "storage account"),
            Field::optional("accountKey", Shape::Secret, "reference to its key; left out: the platform's identity"),
            PREFIX,
            FORMAT,
            LAYOUT,
            COMPRESSION,
            DECIMALS,
            ENDPOINT,
        ],
    },
    Case {
        word: "gcs",
        built: false,
        fields: &[
            BUCKET,
            PREFIX,
            FORMAT,
            LAYOUT,
            COMPRESSION,
            DECIMALS,
            ENDPOINT,
            Field::optional("kmsKeyName", Shape::Text(refuse_empty), "key to encrypt with"),
            STORAGE_CLASS,
            Field::optional("userProject", Shape::Text(refuse_empty), "project to bill"),
        ],
    },
];

const BUCKET: Field = Field::required("bucket", Shape::Text(refuse_empty), "name of the bucket");
const PREFIX: Field = Field::optional("prefix", Shape::Text(refuse_prefix), "folder inside; empty for the root");
const ENDPOINT: Field =
    Field::optional("endpoint", Shape::Text(refuse_empty), "address of the store, if not the usual one");
const STORAGE_CLASS: Field =
    Field::optional("storageClass", Shape::Text(refuse_empty), "storage class of every object");
const FORMAT: Field =
    Field::optional("format", Shape::Word(&[later("avro"), now("parquet"), later("json")]), "format of the files")
        .default("avro");
const LAYOUT: Field =
    Field::optional("layout", Shape::Word(&[later("envelope"), now("flat")]), "layout of the records")
        .default("envelope");
const COMPRESSION: Field = Field::optional(
    "compression",
    Shape::Word(&[now("zstd"), now("snappy"), now("none"), now("deflate"), now("gzip")]),
    "compression of the files; which ones there are hangs on the format",
);
const DECIMALS: Field = Field::optional(
    "decimalMapping",
    Shape::Word(&[now("logical"), later("legacy")]),
    "decimals as decimals, or as texts",
)
.default("logical");

/// Formats with their compressions, the first being the default, and the ending of the file name.
pub(crate) const FORMATS: &[(&str, &[(&str, &str)])] = &[
    ("parquet", &[("zstd", ".parquet"), ("snappy", ".parquet"), ("none", ".parquet")]),
    ("avro", &[("deflate", ".avro"), ("snappy", ".avro"), ("zstd", ".avro"), ("none", ".avro")]),
    ("json", &[("zstd", ".jsonl.zst"), ("gzip", ".jsonl.gz"), ("none", ".jsonl")]),
];

/// Fields of a secret reference.
pub(crate) const SECRET: &[Field] = &[
    Field::required("secretType", Shape::Word(SECRET_TYPES), "where the secret is kept"),
    Field::required(
        "secretName",
        Shape::Text(refuse_empty),
        "its name there: the variable, the file, the secret's name",
    ),
    Field::optional("key", Shape::Text(refuse_empty), "key inside the secret, where it is a JSON object"),
];

const SECRET_TYPES: &[Word] = &[
    now("env"),
    now("file"),
    later("aws_secrets_manager"),
    later("azure_key_vault"),
    later("google_secret_manager"),
    later("hashicorp_vault"),
];

fn refuse_empty(text: &str) -> Option<Wrong> {
    text.is_empty().then(|| Wrong::new("must not be empty", "write a value, or leave the field out if it may be"))
}

fn refuse_name(text: &str) -> Option<Wrong> {
    const LONGEST: usize = 255;
    let length = text.chars().count();
    (length == 0 || length > LONGEST).then(|| {
        Wrong::new(
            format!("must have 1 to {LONGEST} characters, not {length}"),
            "give the pipeline a short name, for example `name: shop`",
        )
    })
}

fn refuse_host(text: &str) -> Option<Wrong> {
    let no_host = |c: char| c.is_whitespace() || c == '/' || c == '@';
    // Not quoted: a pasted URL may hold a password.
    (text.is_empty() || text.contains(no_host)).then(|| {
        Wrong::new(
            "must be the server's name or address alone, no URL",
            "write for example `host: db.example.com`; port, database and user are fields of their own",
        )
    })
}

fn refuse_schema(text: &str) -> Option<Wrong> {
    match text {
        "" => refuse_empty(text),
        "*" => Some(Wrong::new(
            "must be the name of one schema",
            "write one entry for each schema: `{schema: public, table: \"*\"}`",
        )),
        _ => None,
    }
}

fn refuse_prefix(text: &str) -> Option<Wrong> {
    text.split('/').any(|part| part == "." || part == "..").then(|| {
        Wrong::new("must not contain `.` or `..` as a part", "write the folder's path below the root: `raw/shop`")
    })
}
