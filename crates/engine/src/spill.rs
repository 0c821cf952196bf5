//! Rows of a transaction that is too large for memory, on disk until it ends.
//!
//! Nothing of a transaction without an end may reach the target: its rows do not know yet where it ends, and it may yet be given up
//! with its log. So they wait here, compressed, in a file without a name, which a killed process cannot leave behind. When
//! the transaction has ended they are read back one batch after the other and staged like any others.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt8Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use millrace_model::{Batch, Fault, Image, Op, Origin, Run, TableSchema};

use crate::fault::Cause;

/// Fast rather than small: what is written here is read once.
const LEVEL: i32 = 1;

/// The rows of one transaction without an end.
#[derive(Debug)]
pub(crate) struct Spill {
    file: Arc<File>,
    entries: Vec<Entry>,
    bytes: u64,
}

/// A batch in the file.
#[derive(Clone, Debug)]
struct Entry {
    schema: Arc<TableSchema>,
    offset: u64,
    length: u64,
    base: i64,
}

impl Spill {
    /// An empty spill in `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self, Cause> {
        let file = tempfile::tempfile_in(folder).map_err(|source| unusable(folder, source))?;
        Ok(Self { file: Arc::new(file), entries: Vec::new(), bytes: 0 })
    }

    /// Adds a batch of the transaction.
    pub(crate) async fn push(&mut self, batch: Batch) -> Result<(), Cause> {
        let schema = Arc::clone(&batch.schema);
        let base = match &batch.origin {
            Origin::Stream { runs, .. } => runs.first().map_or(0, |run| run.base),
            Origin::Snapshot { .. } => 0,
        };
        let (file, offset) = (Arc::clone(&self.file), self.bytes);
        let length = blocking(move || write(&file, offset, &batch)).await?;
        self.entries.push(Entry { schema, offset, length, base });
        self.bytes += length;
        Ok(())
    }

    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many batches wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Reads a batch back.
    pub(crate) async fn get(&self, number: usize) -> Result<Option<Batch>, Fault> {
        let Some(entry) = self.entries.get(number).cloned() else { return Ok(None) };
        let file = Arc::clone(&self.file);
        Ok(Some(blocking(move || read(&file, &entry)).await?))
    }
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Cause> {
    match tokio::task::spawn_blocking(act).await {
        Ok(result) => result.map_err(|source| unusable(Path::new("spill.directory"), source)),
        Err(_) => Err(Cause::Batch("the spill's thread ended".into())),
    }
}

/// Whether a spill can be begun in `folder`.
pub(crate) async fn try_out(folder: &Path) -> Result<(), Fault> {
    let place = folder.to_owned();
    match tokio::task::spawn_blocking(move || Spill::new(&place)).await {
        Ok(spill) => Ok(drop(spill?)),
        Err(_) => Err(Cause::Batch("the spill's thread ended".into()).into()),
    }
}

fn unusable(folder: &Path, source: io::Error) -> Cause {
    Cause::Spill { folder: folder.display().to_string(), error: source }
}

/// Writes a batch at `offset`; returns its length there.
fn write(mut file: &File, offset: u64, batch: &Batch) -> io::Result<u64> {
    file.seek(SeekFrom::Start(offset))?;
    let mut out = zstd::stream::write::Encoder::new(Counted { file, bytes: 0 }, LEVEL)?;
    let records = to_records(batch).map_err(of_arrow)?;
    let mut writer = StreamWriter::try_new(&mut out, &records.schema()).map_err(of_arrow)?;
    writer.write(&records).and_then(|()| writer.finish()).map_err(of_arrow)?;
    drop(writer);
    out.write_all(&(batch.unavailable.len() as u64).to_le_bytes())?;
    for (row, column) in &batch.unavailable {
        out.write_all(&row.to_le_bytes())?;
        out.write_all(&column.to_le_bytes())?;
    }
    out.write_all(&(batch.exact.len() as u64).to_le_bytes())?;
    for (row, column, text) in &batch.exact {
        out.write_all(&row.to_le_bytes())?;
        out.write_all(&column.to_le_bytes())?;
        out.write_all(&(text.len() as u32).to_le_bytes())?;
        out.write_all(text.as_bytes())?;
    }
    out.write_all(&(batch.images.len() as u64).to_le_bytes())?;
    for (row, image) in &batch.images {
        out.write_all(&row.to_le_bytes())?;
        out.write_all(&[u8::from(*image == Image::Full)])?;
    }
    out.write_all(&[u8::from(!batch.old.is_empty())])?;
    if !batch.old.is_empty() {
        let records = records_of(&batch.old).map_err(of_arrow)?;
        let mut writer = StreamWriter::try_new(&mut out, &records.schema()).map_err(of_arrow)?;
        writer.write(&records).and_then(|()| writer.finish()).map_err(of_arrow)?;
    }
    Ok(out.finish()?.bytes)
}

fn read(mut file: &File, entry: &Entry) -> io::Result<Batch> {
    file.seek(SeekFrom::Start(entry.offset))?;
    let mut input = zstd::stream::read::Decoder::new(file.take(entry.length))?;
    let records = read_records(&mut input)?;
    let mut unavailable = Vec::new();
    for _ in 0..u64::from_le_bytes(bytes(&mut input)?) {
        unavailable.push((u32::from_le_bytes(bytes(&mut input)?), u16::from_le_bytes(bytes(&mut input)?)));
    }
    let mut exact = Vec::new();
    for _ in 0..u64::from_le_bytes(bytes(&mut input)?) {
        let (row, column) = (u32::from_le_bytes(bytes(&mut input)?), u16::from_le_bytes(bytes(&mut input)?));
        let mut text = vec![0; u32::from_le_bytes(bytes(&mut input)?) as usize];
        input.read_exact(&mut text)?;
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        exact.push((row, column, text.into_boxed_str()));
    }
    let mut images = Vec::new();
    for _ in 0..u64::from_le_bytes(bytes(&mut input)?) {
        let (row, [is_full]) = (u32::from_le_bytes(bytes(&mut input)?), bytes(&mut input)?);
        images.push((row, if is_full == 0 { Image::Key } else { Image::Full }));
    }
    let [has_old] = bytes(&mut input)?;
    let old = if has_old == 0 { Vec::new() } else { read_records(&mut input)?.columns().to_vec() };
    let (columns, ops, sequences) = from_records(&records).ok_or(io::ErrorKind::InvalidData)?;
    let origin = Origin::Stream { sequences, runs: vec![Run::open(entry.base)] };
    let schema = Arc::clone(&entry.schema);
    Ok(Batch { schema, columns, ops, unavailable, exact, images, old, origin })
}

fn read_records(input: &mut impl Read) -> io::Result<RecordBatch> {
    let mut reader = StreamReader::try_new(input, None).map_err(of_arrow)?;
    let records = reader.next().ok_or(io::ErrorKind::UnexpectedEof)?.map_err(of_arrow)?;
    // The end of the stream is read, too, so that what follows begins where it should.
    let None = reader.next() else { return Err(io::ErrorKind::InvalidData.into()) };
    Ok(records)
}

/// A full disk stays what it is.
fn of_arrow(error: ArrowError) -> io::Error {
    if let ArrowError::IoError(_, cause) = error { cause } else { io::Error::other(error) }
}

fn bytes<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Columns by number.
fn records_of(columns: &[ArrayRef]) -> Result<RecordBatch, ArrowError> {
    let numbered = columns.iter().enumerate();
    let fields = numbered.map(|(number, column)| Field::new(number.to_string(), column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns.to_vec())
}

/// The columns by number, then ops and sequences.
fn to_records(batch: &Batch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.columns.len() + 2);
    for (number, column) in batch.columns.iter().enumerate() {
        fields.push(Field::new(number.to_string(), column.data_type().clone(), true));
    }
    fields.push(Field::new("op", DataType::UInt8, false));
    fields.push(Field::new("sequence", DataType::Int64, false));
    let mut columns = batch.columns.clone();
    columns.push(Arc::new(UInt8Array::from_iter_values(batch.ops.iter().map(|op| op.letter()))));
    let sequences = match &batch.origin {
        Origin::Stream { sequences, .. } => sequences.clone(),
        Origin::Snapshot { .. } => Vec::new(),
    };
    columns.push(Arc::new(Int64Array::from(sequences)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

type Parts = (Vec<arrow_array::ArrayRef>, Vec<Op>, Vec<i64>);

fn from_records(records: &RecordBatch) -> Option<Parts> {
    let mut columns = records.columns().to_vec();
    let sequences = columns.pop()?;
    let ops = columns.pop()?;
    let sequences = sequences.as_any().downcast_ref::<Int64Array>()?.values().to_vec();
    let ops = ops.as_any().downcast_ref::<UInt8Array>()?.values().iter().map(|&letter| Op::of_letter(letter));
    Some((columns, ops.collect::<Option<_>>()?, sequences))
}

/// Counts what goes into the file.
struct Counted<'a> {
    file: &'a File,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;

    use super::*;
    use millrace_model::{
        ByteSize, Changes, Column, ColumnBuilder, Kind, Position, Sequence, TableName, Timestamp, TransactionEnd,
    };

    fn schema() -> Arc<TableSchema> {
        let column =
            |name: &str, id, kind| Column { name: name.into(), id, kind, type_name: "t".into(), nullable: true };
        Arc::new(TableSchema {
            table: TableName::new(["d", "s", "t"]),
            source_id: "1".into(),
            columns: vec![column("id", 1, Kind::Int64), column("text", 2, Kind::Text)],
            key: vec![0],
        })
    }

    fn append(changes: &mut Changes, ids: std::ops::Range<i64>) {
        for id in ids {
            let row = changes.row(0, Op::Create, 10).unwrap();
            if let ColumnBuilder::Int64(builder) = &mut row.columns[0] {
                builder.append_value(id);
            }
            match id % 3 {
                0 => row.append_unavailable(1),
                1 => row.append_exact(1, format!("exact {id}")),
                _ => row.columns[1].append_null(),
            }
            if id % 4 == 0 {
                let old = row.begin_old(if id == 4 { Image::Full } else { Image::Key });
                if let ColumnBuilder::Int64(builder) = &mut old.columns[0] {
                    builder.append_value(-id);
                }
                old.columns[1].append_null();
            }
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_used_is_refused_and_a_full_disk_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        try_out(folder.path()).await.unwrap();
        let (absent, file) = (folder.path().join("absent"), folder.path().join("file"));
        File::create(&file).unwrap();
        for (place, exit) in [(absent, 64), (file, 64), ("/proc".into(), 64)] {
            let fault = try_out(&place).await.unwrap_err();
            assert_eq!((fault.code, fault.is_retry(), fault.exit_code()), ("EN-017", false, exit), "{fault}");
            assert!(
                fault.message.contains(&place.display().to_string()) && fault.message.contains("(os error"),
                "{fault}"
            );
        }
        let of = |kind: io::ErrorKind| Fault::from(unusable(folder.path(), kind.into()));
        assert_eq!(of(io::ErrorKind::ReadOnlyFilesystem).exit_code(), 77);
        assert!(of(io::ErrorKind::StorageFull).is_retry());
    }

    #[tokio::test]
    async fn an_open_transaction_comes_back_as_it_was_and_knows_its_end() {
        let end = |position: &str| TransactionEnd {
            position: Position::new(position),
            id: Arc::from(format!("tx {position}")),
            commit: Timestamp(7),
        };
        let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
        changes.define(0, schema());
        changes.begin();
        append(&mut changes, 0..3);
        changes.commit(end("a"));
        changes.begin();
        append(&mut changes, 3..10);
        let (ended, open) = changes.take_open().unwrap();
        assert_eq!(ended.iter().map(Batch::rows).collect::<Vec<_>>(), [3]);
        let mut spill = Spill::new(&std::env::temp_dir()).unwrap();
        for batch in open {
            spill.push(batch).await.unwrap();
        }
        append(&mut changes, 10..12);
        changes.commit(end("b"));
        let mut batch = spill.get(0).await.unwrap().unwrap();
        batch.end_open(changes.last_end().unwrap());
        assert_eq!(batch.unavailable, [(0, 1), (3, 1), (6, 1)]);
        assert_eq!(
            batch.exact.iter().map(|cell| (cell.0, &*cell.2)).collect::<Vec<_>>(),
            [(1, "exact 4"), (4, "exact 7")]
        );
        assert_eq!(batch.images, [(1, Image::Full), (5, Image::Key)]);
        let old: &Int64Array = batch.old[0].as_any().downcast_ref().unwrap();
        assert_eq!((old.values().to_vec(), batch.old[1].null_count()), (vec![-4, -8], 2));
        let Origin::Stream { sequences, runs } = &batch.origin else { panic!("from the stream") };
        assert_eq!((sequences.as_slice(), &*runs[0].position, runs[0].base), (&[4, 5, 6, 7, 8, 9, 10][..], "b", 3));
        let rest = changes.take_all().unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].sequence_range(), (Sequence(11), Sequence(12)));
        assert!(spill.get(1).await.unwrap().is_none());
    }
}
