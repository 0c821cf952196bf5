//! Every form of data files: what is written in one reads as in any other.

use std::io::Read;
use std::sync::Arc;

use millrace_files::{Compression, Decimals, Files, Form, Format, Layout, MemoryStore, Settings, fsck, read};
use millrace_model::{
    Batch, ByteSize, Changes, Clock, Column, ColumnBuilder, CommitKind, Image, Kind, Op, Round, Sequence, TableChanges,
    TableName, TableSchema,
};

use crate::lake::{SetClock, Writer, column, end_of, settings, version_of};

/// Every form that a pipeline file can ask for, with decimals as decimals.
pub(crate) fn forms() -> Vec<Form> {
    let codecs = [
        (Format::Parquet, &[Compression::Zstd, Compression::Snappy, Compression::None][..]),
        (Format::Avro, &[Compression::Deflate, Compression::Snappy, Compression::Zstd, Compression::None]),
        (Format::Json, &[Compression::Zstd, Compression::Gzip, Compression::None]),
    ];
    let mut forms = Vec::new();
    for (format, compressions) in codecs {
        for layout in [Layout::Flat, Layout::Envelope] {
            let form =
                |compression: &_| Form { format, layout, compression: *compression, decimals: Decimals::Logical };
            forms.extend(compressions.iter().map(form));
        }
    }
    forms
}

/// One column of every kind, under names that no format likes; the key is the first and the last.
pub(crate) fn every_kind() -> Arc<TableSchema> {
    let kinds = [
        Kind::Int64,
        Kind::Bool,
        Kind::Int8,
        Kind::Int16,
        Kind::Int32,
        Kind::UInt64,
        Kind::Float32,
        Kind::Float64,
        Kind::Decimal { precision: 10, scale: 2 },
        Kind::Decimal { precision: 38, scale: 0 },
        Kind::Text,
        Kind::Bytes,
        Kind::Date,
        Kind::Time,
        Kind::Timestamp,
        Kind::TimestampTz,
        Kind::Interval,
        Kind::Uuid,
        Kind::Json,
        Kind::Text,
    ];
    let names = ["id", "_op", "a b", "a_b", "1st", "größe", "quote\"", "before", "source", "_exact_", "ünï"];
    let columns: Vec<Column> = kinds
        .into_iter()
        .enumerate()
        .map(|(i, kind)| column(names.get(i).map_or(&*format!("c{i}"), |name| name), i as u32 + 1, kind))
        .collect();
    Arc::new(TableSchema {
        table: TableName::new(["shop", "public", "every kind"]),
        source_id: "16423.1".into(),
        columns,
        key: vec![0, 19],
    })
}

/// Appends a value to each column: at the edges of its kind for few `seed`s, null for every fifth.
fn fill(columns: &mut [ColumnBuilder], id: i64, seed: i64) {
    fill_without(columns, id, seed, &[]);
}

/// The same without some columns.
fn fill_without(columns: &mut [ColumnBuilder], id: i64, seed: i64, others: &[usize]) {
    let edge = |low: i64, high: i64| if seed % 2 == 0 { low } else { high };
    for (i, column) in columns.iter_mut().enumerate().filter(|(i, _)| !others.contains(i)) {
        if !matches!(i, 0 | 19) && (seed + i as i64) % 5 == 4 {
            column.append_null();
            continue;
        }
        match column {
            ColumnBuilder::Bool(it) => it.append_value(seed % 2 == 0),
            ColumnBuilder::Int8(it) => it.append_value(edge(i8::MIN.into(), i8::MAX.into()) as i8),
            ColumnBuilder::Int16(it) => it.append_value(edge(i16::MIN.into(), i16::MAX.into()) as i16),
            ColumnBuilder::Int32(it) => it.append_value(edge(i32::MIN.into(), i32::MAX.into()) as i32),
            ColumnBuilder::Int64(it) => it.append_value(id),
            ColumnBuilder::UInt64(it) => it.append_value(u64::MAX - seed as u64),
            ColumnBuilder::Float32(it) => {
                it.append_value([f32::NAN, -0.0, f32::INFINITY, 0.1, f32::MAX][seed as usize % 5]);
            }
            ColumnBuilder::Float64(it) => {
                it.append_value([0.1, f64::NEG_INFINITY, 1e-300, -0.0, f64::NAN][seed as usize % 5]);
            }
            ColumnBuilder::Decimal(it) if i == 8 => it.append_value(edge(-5, 9_999_999_999).into()),
            ColumnBuilder::Decimal(it) => it.append_value(i128::from(edge(-1, 1)) * (10i128.pow(38) - 1)),
            ColumnBuilder::Text(it) => {
                let text = ["", "a\"b\\c\n\t\u{1}", "水車 🌊", "null", "{\"a\": [1, \"}\"]}"][seed as usize % 5];
                it.append_value(match i {
                    16 => "P1DT2H3M4.5S",
                    17 => "12345678-1234-1234-1234-123456789abc",
                    18 => "{\"a\": [1, \"}\"]}",
                    19 => "key",
                    _ => text,
                });
            }
            ColumnBuilder::Bytes(it) => it.append_value((0..seed as u8 % 7).map(|byte| 255 - byte).collect::<Vec<_>>()),
            ColumnBuilder::Date(it) => it.append_value(edge(-719_162, 2_932_896) as i32),
            ColumnBuilder::Time(it) => it.append_value(edge(0, 86_400_000_000)),
            ColumnBuilder::Timestamp(it) => it.append_value(edge(-62_135_596_800_000_001, 253_402_300_799_999_999)),
        }
    }
}

/// Changes of every sort, with what the log has of the rows before them.
fn changes(schema: &Arc<TableSchema>) -> Vec<Batch> {
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.define(0, Arc::clone(schema));
    let key_only = |columns: &mut [ColumnBuilder], id| {
        for (i, column) in columns.iter_mut().enumerate() {
            match column {
                ColumnBuilder::Int64(it) => it.append_value(id),
                ColumnBuilder::Text(it) if i == 19 => it.append_value("key"),
                other => other.append_null(),
            }
        }
    };
    changes.begin();
    for id in 0..20 {
        fill(&mut changes.row(0, Op::Create, 100).unwrap().columns, id, id);
    }
    changes.commit(end_of(1));
    changes.begin();
    // An update with a full old row, one with a value that was not sent, one with what no type holds.
    let row = changes.row(0, Op::Update, 100).unwrap();
    fill(&mut row.columns, 1, 7);
    fill(&mut row.begin_old(Image::Full).columns, 1, 1);
    let row = changes.row(0, Op::Update, 100).unwrap();
    fill_without(&mut row.columns, 2, 8, &[18]);
    row.append_unavailable(18);
    let row = changes.row(0, Op::Update, 100).unwrap();
    fill_without(&mut row.columns, 3, 9, &[8, 9, 14]);
    row.append_exact(8, "NaN");
    row.append_exact(9, "-Infinity");
    row.append_exact(14, "infinity");
    changes.commit(end_of(2));
    changes.begin();
    // A delete, and a change of the key.
    let row = changes.row(0, Op::Delete, 100).unwrap();
    row.note_image(Image::Key);
    key_only(&mut row.columns, 4);
    let row = changes.row(0, Op::Delete, 100).unwrap();
    row.note_image(Image::Full);
    fill(&mut row.columns, 5, 5);
    let row = changes.row(0, Op::Create, 0).unwrap();
    fill(&mut row.columns, 105, 6);
    key_only(&mut row.begin_old(Image::Key).columns, 5);
    changes.commit(end_of(3));
    changes.take_all().unwrap()
}

/// A truncate, and the rows of a snapshot.
fn more(schema: &Arc<TableSchema>, after: u64) -> Vec<Batch> {
    let mut changes = Changes::new(Sequence(after), ByteSize::mib(1));
    changes.define(0, Arc::clone(schema));
    changes.begin();
    changes.row(0, Op::Truncate, 10).unwrap().columns.iter_mut().for_each(ColumnBuilder::append_null);
    changes.commit(end_of(9));
    let mut batches = changes.take_all().unwrap();
    let mut seen = TableChanges::new(Arc::clone(schema));
    for id in 0..3 {
        seen.begin_read(100);
        fill(&mut seen.columns, id, id + 2);
    }
    batches.push(seen.take_snapshot(1, Sequence(after + 1), end_of(9).position).unwrap());
    batches
}

async fn lines(files: &Files, table: &str, state: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut out = |line: &str| {
        lines.push(line.to_owned());
        Ok(())
    };
    read(files, table, state, &mut out).await.unwrap();
    lines
}

fn files_of(form: Form, store: &MemoryStore, clock: &SetClock) -> Files {
    Files::new(Settings { form, ..settings("one") }, Arc::new(store.clone()), Arc::new(clock.clone()))
}

/// Writes changes of every kind in a form; what `read` says of them after the first round, then after the second, and the
/// state at both times.
pub(crate) async fn written(form: Form, schema: &Arc<TableSchema>) -> (MemoryStore, Vec<Vec<String>>) {
    let (store, clock) = (MemoryStore::new(), SetClock::new());
    let files = files_of(form, &store, &clock);
    let mut one = Writer::over(files.clone(), clock).await;
    let version = version_of(&mut one.registry, schema);
    let mut said = Vec::new();
    for number in 0..2 {
        one.round += 1;
        let mut round = one.chain.stager().round(one.round, one.clock.now());
        let batches = if number == 0 { changes(schema) } else { more(schema, one.sequence) };
        for batch in batches {
            round.write(batch, version).await.unwrap();
        }
        let staged = round.finish().await.unwrap();
        assert!(staged.iter().all(|file| file.path.ends_with(form.ending())), "{staged:?}");
        one.transaction = 3 + number * 6;
        let round = Round { kind: CommitKind::Changes, ..one.round_of(staged) };
        one.commit_round(&round).await;
        let table = "shop.public.every kind";
        said.extend([lines(&files, table, false).await, lines(&files, table, true).await]);
        let report = fsck(&files).await.unwrap();
        assert!(report.ok, "{form:?}: {report:?}");
    }
    (store, said)
}

#[tokio::test]
async fn every_kind_reads_alike_in_every_format_and_layout() {
    let schema = every_kind();
    let (_, expected) = written(crate::lake::PARQUET_FLAT, &schema).await;
    assert_eq!(expected.iter().map(Vec::len).collect::<Vec<_>>(), [26, 19, 30, 3]);
    for form in forms() {
        let (_, found) = written(form, &schema).await;
        for (found, expected) in found.iter().zip(&expected) {
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found, expected, "{form:?}");
            }
            assert_eq!(found.len(), expected.len(), "{form:?}");
        }
    }
}

#[tokio::test]
async fn decimals_as_texts_are_the_sources_also_where_no_decimal_can_be() {
    let schema = every_kind();
    let (_, expected) = written(crate::lake::PARQUET_FLAT, &schema).await;
    for form in forms() {
        let (_, found) = written(Form { decimals: Decimals::Legacy, ..form }, &schema).await;
        assert_eq!(found[1], expected[1], "{form:?}");
        let row: serde_json::Value = serde_json::from_str(&found[0][22]).unwrap();
        assert_eq!((&row["source"], &row["_exact_"]), (&"NaN".into(), &"-Infinity".into()), "{form:?}");
        assert_eq!(row["_exact"], serde_json::json!({"c14": "infinity"}), "{form:?}");
    }
}

/// The only data file of a table, unpacked.
fn only_text(store: &MemoryStore) -> String {
    let contents = store.contents();
    let data: Vec<_> = contents.iter().filter(|(path, _)| path.ends_with(".jsonl.gz")).collect();
    let [(_, bytes)] = data[..] else { panic!("one file") };
    let mut text = String::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn an_envelope_says_what_was_before_and_where_a_row_comes_from() {
    let form = Form {
        format: Format::Json,
        layout: Layout::Envelope,
        compression: Compression::Gzip,
        decimals: Decimals::Logical,
    };
    let (store, clock) = (MemoryStore::new(), SetClock::new());
    let mut one = Writer::over(files_of(form, &store, &clock), clock).await;
    let schema = crate::lake::table("orders");
    let rows: &[&[crate::lake::Row<'_>]] =
        &[&[(Op::Create, 1, Some("a")), (Op::Update, 1, None), (Op::Delete, 1, None)], &[(Op::Truncate, 0, None)]];
    one.commit(&schema, rows).await;
    let source = |transaction: u64, index: u64| {
        format!(
            concat!(
                r#""source":{{"pipeline":"shop","connector":"postgres","db":"shop","schema":"public","table":"orders","#,
                r#""position":"0/0000000{}","tx_id":"{}","tx_index":{},"ts_us":{},"snapshot":null}}"#
            ),
            transaction,
            transaction,
            index,
            end_of(transaction).commit.0
        )
    };
    let read = one.clock.now().0;
    let expected = [
        format!(
            r#"{{"op":"c","before":null,"after":{{"id":1,"note":"a"}},"before_image":"none","unavailable":null,"exact":null,"sequence":1,"ts_us":{read},{}}}"#,
            source(1, 1)
        ),
        format!(
            r#"{{"op":"u","before":null,"after":{{"id":1,"note":null}},"before_image":"none","unavailable":["note"],"exact":null,"sequence":2,"ts_us":{read},{}}}"#,
            source(1, 2)
        ),
        format!(
            r#"{{"op":"d","before":{{"id":1,"note":null}},"after":null,"before_image":"key","unavailable":null,"exact":null,"sequence":3,"ts_us":{read},{}}}"#,
            source(1, 3)
        ),
        format!(
            r#"{{"op":"t","before":null,"after":null,"before_image":"none","unavailable":null,"exact":null,"sequence":4,"ts_us":{read},{}}}"#,
            source(2, 1)
        ),
    ];
    assert_eq!(only_text(&store).lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_rows_before_changes_stand_in_the_envelope() {
    let form = Form {
        format: Format::Json,
        layout: Layout::Envelope,
        compression: Compression::Gzip,
        decimals: Decimals::Logical,
    };
    let schema = every_kind();
    let (store, clock) = (MemoryStore::new(), SetClock::new());
    let one = Writer::over(files_of(form, &store, &clock), clock).await;
    let mut round = one.chain.stager().round(1, one.clock.now());
    for batch in changes(&schema) {
        round.write(batch, 1).await.unwrap();
    }
    round.finish().await.unwrap();
    let text = only_text(&store);
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let images: Vec<&str> = rows[20..].iter().map(|row| row["before_image"].as_str().unwrap()).collect();
    assert_eq!(images, ["full", "none", "none", "key", "full", "key"]);
    // The old row of the update is the row as it was inserted.
    assert_eq!(rows[20]["before"], rows[1]["after"]);
    assert_ne!(rows[20]["after"], rows[1]["after"]);
    // A change of the key: all that the log has of the old row, then the new row beside its old key.
    assert_eq!(rows[24]["before"], rows[5]["after"]);
    assert_eq!((&rows[25]["before"]["id"], &rows[25]["before"]["_op"]), (&5.into(), &serde_json::Value::Null));
    assert_eq!(rows[25]["after"]["id"], 105);
    assert_eq!(rows[23]["after"], serde_json::Value::Null);
}

#[tokio::test]
async fn files_of_every_form_end_at_the_limit_and_go_on_in_the_next_part() {
    for form in forms().into_iter().filter(|form| form.layout == Layout::Flat && form.format != Format::Parquet) {
        let (store, clock) = (MemoryStore::new(), SetClock::new());
        let limited = Settings { form, file_max_bytes: ByteSize::kib(64), ..settings("one") };
        let files = Files::new(limited, Arc::new(store.clone()), Arc::new(clock.clone()));
        let mut one = Writer::over(files.clone(), clock).await;
        let schema = crate::lake::table("orders");
        let notes: Vec<String> = (0..20_000u64).map(|i| millrace_files::names::sha256_hex(&i.to_le_bytes())).collect();
        let rows: Vec<crate::lake::Row<'_>> =
            notes.iter().enumerate().map(|(i, note)| (Op::Create, i as i64, Some(note.as_str()))).collect();
        let staged = one.commit(&schema, &[&rows]).await;
        assert!(staged.len() > 1, "{form:?}: {}", staged.len());
        let report = fsck(&files).await.unwrap();
        assert!(report.ok && report.rows == 20_000, "{form:?}: {report:?}");
    }
}

/// What a kind is in Parquet, from a file's own schema.
fn in_parquet(bytes: &[u8], column: usize) -> String {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes)).unwrap();
    let field = reader.metadata().file_metadata().schema().get_fields()[column].clone();
    let physical = format!("{:?}", field.get_physical_type());
    match field.get_basic_info().logical_type_ref() {
        Some(logical) => format!("{physical}, {}", logical_name(&format!("{logical:?}"))),
        None => physical,
    }
}

/// The name of a logical type by its parts, as Rust shows them.
fn logical_name(shown: &str) -> String {
    let number = |name: &str| {
        let (_, rest) = shown.split_once(&format!("{name}: ")).unwrap();
        rest.chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    let name = shown.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
    match name {
        "Decimal" => format!("DECIMAL({},{})", number("precision"), number("scale")),
        "Integer" => {
            format!("{}({})", if shown.contains("is_signed: true") { "INT" } else { "UINT" }, number("bit_width"))
        }
        "Time" => "TIME µs".into(),
        "Timestamp" if shown.contains("is_adjusted_to_u_t_c: true") => "TIMESTAMP µs, UTC".into(),
        "Timestamp" => "TIMESTAMP µs, local".into(),
        other => other.to_uppercase(),
    }
}

/// What a kind is in Avro, from a file's own schema.
fn in_avro(bytes: &[u8], column: usize) -> String {
    let name = b"avro.schema";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    let begin = at + bytes[at..].iter().position(|byte| *byte == b'{').unwrap();
    let mut schemas = serde_json::Deserializer::from_slice(&bytes[begin..]).into_iter::<serde_json::Value>();
    let schema = schemas.next().unwrap().unwrap();
    let kind = &schema["fields"][column]["type"][1];
    let text = |name: &str| kind[name].as_str().map(str::to_owned);
    match (kind.as_str(), text("type"), text("logicalType").as_deref()) {
        (Some(plain), ..) => plain.to_owned(),
        (_, Some(kept), Some("decimal")) => {
            format!("{kept}, decimal({},{})", schema["fields"][column]["type"][1]["precision"], kind["scale"])
        }
        (_, Some(kept), Some(logical)) => format!("{kept}, {logical}"),
        _ => panic!("{kind}"),
    }
}

#[tokio::test]
async fn the_table_of_the_document_is_what_stands_in_files() {
    let schema = every_kind();
    let file = async |format, ending: &str| {
        let form = Form { format, layout: Layout::Flat, compression: Compression::None, decimals: Decimals::Logical };
        let (store, _) = written(form, &schema).await;
        let contents = store.contents();
        contents.iter().find(|(path, _)| path.ends_with(ending)).unwrap().1.to_vec()
    };
    let parquet = file(Format::Parquet, ".parquet").await;
    let avro = file(Format::Avro, ".avro").await;
    let json = String::from_utf8(file(Format::Json, ".jsonl").await).unwrap();
    let names: Vec<&str> = vec![
        "id", "_op_", "a b", "a_b", "1st", "größe", "quote\"", "before", "source", "_exact_", "ünï", "c11", "c12",
        "c13", "c14", "c15", "c16", "c17", "c18",
    ];
    let mut table = String::from("| kind | Parquet | Avro | JSON lines, for example |\n|---|---|---|---|\n");
    for (i, name) in names.iter().enumerate() {
        let kind = schema.columns[i].kind;
        // A value that says something of the kind.
        let rows = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let values: Vec<serde_json::Value> =
            rows.map(|mut row| row[*name].take()).filter(|value| !value.is_null()).collect();
        let is_float = matches!(kind, Kind::Float32 | Kind::Float64);
        let speaking = values.iter().filter(|value| !is_float || value.is_number());
        let plain = speaking.max_by_key(|value| value.to_string().len()).unwrap();
        table += &format!("| {kind} | {} | {} | `{plain}` |\n", in_parquet(&parquet, i), in_avro(&avro, i));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/specs/file-lake.md");
    let document = std::fs::read_to_string(path).unwrap();
    let mark = "<!-- kinds: written by the program -->\n";
    let (before, rest) = document.split_once(mark).expect("the mark");
    let (kept, after) = rest.split_once("<!-- end -->").expect("the end");
    if std::env::var_os("MILLRACE_WRITE").is_some() {
        std::fs::write(path, format!("{before}{mark}{table}<!-- end -->{after}")).unwrap();
        return;
    }
    assert!(kept == table, "run this test with MILLRACE_WRITE=1 and look at what changes in docs/specs/file-lake.md");
}
