//! How much memory one huge value costs; alone in its process, because the peak is the process's.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

#[path = "it/lake.rs"]
#[expect(dead_code, reason = "the other tests need the rest")]
mod lake;

use std::sync::Arc;

use millrace_files::{Compression, Decimals, Files, Form, Format, Layout, LocalStore, Settings};
use millrace_model::{ByteSize, Changes, ColumnBuilder, Op, Sequence};
use millrace_testkit::usage::peak_memory;

/// Bytes of the value.
const VALUE: u64 = 100_000_000;

#[tokio::test]
async fn a_value_of_a_hundred_megabytes_costs_the_encoder_a_few_times_itself() {
    // Parquet's own: the values of the page, the page, and the page compressed. No dictionary, no least and no greatest.
    // Avro: the block, and the block compressed. JSON lines: the value goes on in pieces.
    let bars = [
        (Format::Parquet, Layout::Flat, Compression::Zstd, 33),
        (Format::Parquet, Layout::Envelope, Compression::Zstd, 33),
        (Format::Avro, Layout::Envelope, Compression::Deflate, 33),
        (Format::Json, Layout::Envelope, Compression::Zstd, 2),
    ];
    for (format, layout, compression, tenths) in bars {
        let (bytes, grown) = cost_of(Form { format, layout, compression, decimals: Decimals::Logical }).await;
        let what = format!("{format:?} {layout:?} {compression:?}: {} MiB more", grown >> 20);
        assert!(bytes > VALUE / 2 && grown < VALUE * tenths / 10, "{what}");
    }
}

/// How large the file of one huge value becomes, and how much memory it takes to write it.
async fn cost_of(form: Form) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::new(folder.path().to_path_buf()));
    let files = Files::new(Settings { form, ..lake::settings("one") }, store, Arc::new(lake::SetClock::new()));
    let mut one = lake::Writer::over(files, lake::SetClock::new()).await;
    let schema = lake::table("orders");
    let version = lake::version_of(&mut one.registry, &schema);
    let mut changes = Changes::new(Sequence(0), ByteSize::mib(1));
    changes.define(0, Arc::clone(&schema));
    changes.begin();
    let row = changes.row(0, Op::Create, 20).unwrap();
    if let ColumnBuilder::Int64(ids) = &mut row.columns[0] {
        ids.append_value(1);
    }
    if let ColumnBuilder::Text(notes) = &mut row.columns[1] {
        // Text that no codec makes much smaller.
        let mut dice = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..VALUE / 8 {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            let letters = dice.to_le_bytes().map(|byte| b' ' + byte % 95);
            std::io::Write::write_all(notes, &letters).unwrap();
        }
        notes.append_value("");
    }
    changes.commit(lake::end_of(1));
    let batches = changes.take_all().unwrap();
    // From here on the peak is that of the encoder.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_memory(std::process::id()).unwrap().get();
    let mut round = one.chain.stager().round(1, millrace_model::Clock::now(&one.clock));
    for batch in batches {
        round.write(batch, version).await.unwrap();
    }
    let staged = round.finish().await.unwrap();
    let grown = peak_memory(std::process::id()).unwrap().get().saturating_sub(before);
    (staged[0].bytes, grown)
}
