//! The fields of the pipeline file: the table that `shape` describes.

use crate::rules::{
    ACCOUNT_NAME, ANY, BUCKET_NAME, CONTAINER_NAME, FILLED, FOLDER, HOST_NAME, NAME, PATH, REGION_NAME, SCHEMA,
};
use crate::shape::{Case, Field, Shape, Word, now};

/// The whole file.
pub(crate) const FILE: Shape = Shape::Map(&[
    Field::required("version", Shape::Whole { least: 1, most: 1 }, "version of this format: 1"),
    Field::required("name", Shape::Text(NAME), "name of the pipeline; without a hub it is the pipeline"),
    Field::optional("projectId", Shape::Text(FILLED), "project on a hub; means nothing without one"),
    Field::optional("agentId", Shape::Text(FILLED), "agent on a hub; means nothing without one"),
    Field::required(
        "streamingSource",
        Shape::Tagged { cases: SOURCES, later: LATER_SOURCES },
        "where changes come from",
    ),
    Field::required("streamingTarget", Shape::Tagged { cases: TARGETS, later: LATER_TARGETS }, "where changes go to"),
    Field::optional("advancedProperties", Shape::Advanced, "fine tuning; every value is a text"),
]);

/// The body of the REST API's pipeline. What its properties mean is the agent's to say: one that means nothing, or nothing
/// yet, is kept.
pub(crate) const BODY: Shape = Shape::Map(BODY_FIELDS);

/// Its fields.
pub(crate) const BODY_FIELDS: &[Field] = &[
    Field::required("name", Shape::Text(NAME), "name of the pipeline, unique in its project"),
    Field::required("agentId", Shape::Text(FILLED), "the agent that runs it"),
    Field::required(
        "streamingSource",
        Shape::Tagged { cases: SOURCES, later: LATER_SOURCES },
        "where changes come from",
    ),
    Field::required("streamingTarget", Shape::Tagged { cases: TARGETS, later: LATER_TARGETS }, "where changes go to"),
    Field::optional("advancedProperties", Shape::Texts, "fine tuning; every value is a text"),
];

const LATER_SOURCES: &[&str] = &[];
/// Nothing is known yet about their fields.
const LATER_TARGETS: &[&str] = &["iceberg", "delta"];

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
    Case {
        word: "sqlserver",
        built: false,
        fields: &[
            Field::required("connection", Shape::Map(&[HOST, PORT, DATABASE, USERNAME, PASSWORD, JDBC]), CONNECTION),
            TABLES,
        ],
    },
    Case {
        word: "oracle",
        built: false,
        fields: &[
            Field::required(
                "connection",
                Shape::Map(&[HOST, PORT, DATABASE, PDB, USERNAME, PASSWORD, JDBC]),
                CONNECTION,
            ),
            TABLES,
        ],
    },
    Case {
        word: "db2ibmi",
        built: false,
        fields: &[
            Field::required("connection", Shape::Map(&[HOST, PORT, USERNAME, PASSWORD, JDBC]), CONNECTION),
            TABLES,
        ],
    },
];

const CONNECTION: &str = "how to reach the database";
const HOST: Field = Field::required("host", Shape::Text(HOST_NAME), "name or address of the server");
const PORT: Field = Field::required("port", Shape::Whole { least: 1, most: 65_535 }, "its port");
const DATABASE: Field = Field::required("database", Shape::Text(FILLED), "name of the database");
const PDB: Field = Field::optional("pdb", Shape::Text(ANY), "name of the pluggable database");
const USERNAME: Field = Field::required("username", Shape::Text(FILLED), "user to log in as");
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
        Field::required("schema", Shape::Text(SCHEMA), "schema of the table; for mysql its database"),
        Field::required("table", Shape::Text(FILLED), "name of the table; `*` for all of the schema, later ones too"),
    ])),
    "the tables to stream, at least one",
);

const TARGETS: &[Case] = &[
    Case {
        word: "local",
        built: true,
        fields: &[
            Field::required("path", Shape::Text(PATH), "folder; a relative one is relative to this file"),
            PREFIX,
            FORMAT,
            LAYOUT,
            COMPRESSION,
            DECIMALS,
        ],
    },
    Case {
        word: "s3",
        built: true,
        fields: &[
            BUCKET,
            PREFIX,
            FORMAT,
            LAYOUT,
            COMPRESSION,
            DECIMALS,
            Field::optional("region", Shape::Text(REGION_NAME), "region of the bucket; left out: `AWS_REGION`"),
            ENDPOINT,
            Field::optional(
                "pathStyle",
                Shape::Bool,
                "address the bucket in the path; left out: where there is an `endpoint`",
            ),
            Field::optional("kmsKeyId", Shape::Text(FILLED), "key to encrypt with"),
            STORAGE_CLASS,
            Field::optional("requesterPays", Shape::Bool, "the requester pays"),
            Field::optional("tags", Shape::Texts, "tags of every object"),
            Field::optional("roleArn", Shape::Text(FILLED), "role to assume"),
            Field::optional("externalId", Shape::Text(FILLED), "external id for the role"),
        ],
    },
    Case {
        word: "abs",
        built: true,
        fields: &[
            Field::required("container", Shape::Text(CONTAINER_NAME), "name of the container"),
            Field::required("accountName", Shape::Text(ACCOUNT_NAME), "storage account"),
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
        built: true,
        fields: &[
            BUCKET,
            PREFIX,
            FORMAT,
            LAYOUT,
            COMPRESSION,
            DECIMALS,
            ENDPOINT,
            Field::optional("kmsKeyName", Shape::Text(FILLED), "key to encrypt with"),
            STORAGE_CLASS,
            Field::optional("userProject", Shape::Text(FILLED), "project to bill"),
        ],
    },
    Case { word: "snowflake", built: false, fields: SNOWFLAKE },
];

const SNOWFLAKE: &[Field] = &[
    Field::required(
        "connection",
        Shape::Map(&[
            Field::required("accountName", Shape::Text(FILLED), "name of the account"),
            USERNAME,
            Field::required(
                "authentication",
                Shape::Tagged { cases: AUTHENTICATIONS, later: &[] },
                "how the user proves who it is",
            ),
            JDBC,
        ]),
        "how to reach the account",
    ),
    Field::required("role", Shape::Text(FILLED), "role to act in"),
    Field::required("warehouse", Shape::Text(FILLED), "warehouse that does the work"),
    Field::required("database", Shape::Text(FILLED), "database of the tables"),
    Field::required("stageSchema", Shape::Text(FILLED), "schema of the stage"),
    Field::required("stageName", Shape::Text(FILLED), "name of the stage"),
    Field::optional("stagePrefix", Shape::Text(FOLDER), "folder inside the stage; empty for the root"),
    Field::required("tableSchema", Shape::Text(FILLED), "schema of the tables"),
    Field::required(
        "tablePrefixType",
        Shape::Word(&[now("prefix"), now("source_database_and_schema"), now("none")]),
        "what the tables' names begin with",
    ),
    Field::required(
        "transformationType",
        Shape::Word(&[now("copy_table"), now("copy_table_soft_delete"), now("change_log")]),
        "what the tables hold",
    ),
    Field::optional("temporalMapping", Shape::Word(&[now("native"), now("epoch")]), "times as times, or as numbers"),
];

const AUTHENTICATIONS: &[Case] = &[Case {
    word: "key-pair",
    built: true,
    fields: &[
        Field::required("privateKey", Shape::Secret, "reference to the private key"),
        Field::optional("passphrase", Shape::Secret, "reference to its passphrase"),
    ],
}];

const BUCKET: Field = Field::required("bucket", Shape::Text(BUCKET_NAME), "name of the bucket");
const PREFIX: Field = Field::optional("prefix", Shape::Text(FOLDER), "folder inside; empty for the root");
const ENDPOINT: Field = Field::optional("endpoint", Shape::Text(FILLED), "address of the store, if not the usual one");
const STORAGE_CLASS: Field = Field::optional("storageClass", Shape::Text(FILLED), "storage class of data files");
const FORMAT: Field =
    Field::optional("format", Shape::Word(&[now("avro"), now("parquet"), now("json")]), "format of the files")
        .default("avro");
const LAYOUT: Field = Field::optional("layout", Shape::Word(&[now("envelope"), now("flat")]), "layout of the records")
    .default("envelope");
const COMPRESSION: Field = Field::optional(
    "compression",
    Shape::Word(&[now("zstd"), now("snappy"), now("none"), now("deflate"), now("gzip")]),
    "compression of the files; which ones there are hangs on the format",
);
const DECIMALS: Field = Field::optional(
    "decimalMapping",
    Shape::Word(&[now("logical"), now("legacy")]),
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
    Field::required("secretName", Shape::Text(FILLED), "its name there: the variable, the file, the secret's name"),
    Field::optional("key", Shape::Text(FILLED), "key inside the secret, where it is a JSON object"),
];

const SECRET_TYPES: &[Word] = &[
    now("env"),
    now("file"),
    now("aws_secrets_manager"),
    now("azure_key_vault"),
    now("google_secret_manager"),
    now("hashicorp_vault"),
];
