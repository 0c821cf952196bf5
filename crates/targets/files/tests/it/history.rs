//! Random histories: what `read --state` says is what the source would say, and `fsck` agrees.

use std::collections::BTreeMap;

use millrace_files::{MemoryStore, fsck, read};
use millrace_model::{CommitKind, Op};

use crate::lake::{Row, Writer, snapshot_round, table, writer};

/// xorshift64: the histories are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

type State = BTreeMap<i64, String>;

/// One random change, as the log would tell it, and what it makes of the table.
fn change(dice: &mut Dice, state: &mut State, rows: &mut Vec<(Op, i64, Option<String>)>) {
    let (id, to) = (dice.below(10) as i64, dice.below(10) as i64);
    let note = format!("note {}", dice.below(1000));
    let choice = dice.below(100);
    if choice < 2 {
        state.clear();
        rows.push((Op::Truncate, 0, None));
    } else if !state.contains_key(&id) {
        rows.push((Op::Create, id, Some(note.clone())));
        state.insert(id, note);
    } else if choice < 25 {
        state.remove(&id);
        rows.push((Op::Delete, id, None));
    } else if choice < 45 && !state.contains_key(&to) {
        // The key changes and the log leaves the note out.
        rows.extend([(Op::Delete, id, None), (Op::Create, to, None)]);
        let note = state.remove(&id).unwrap_or_default();
        state.insert(to, note);
    } else if choice < 75 {
        rows.push((Op::Update, id, None));
    } else {
        rows.push((Op::Update, id, Some(note.clone())));
        state.insert(id, note);
    }
}

#[tokio::test]
async fn the_current_rows_are_those_of_the_source_over_random_histories() {
    for seed in 1..=60u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (store, mut state) = (MemoryStore::new(), State::new());
        let mut one = Writer::start(&store, "one").await;
        for number in 0..8 {
            // A snapshot of the rows as they are before the round, committed with it.
            let mut files = Vec::new();
            if number % 3 == 2 {
                for (id, note) in &mut state {
                    *note = format!("snapshot {number}");
                    files.extend(snapshot_round(&mut one, &table("orders"), number, &[*id]).await.files);
                }
            }
            let mut transactions: Vec<Vec<(Op, i64, Option<String>)>> = Vec::new();
            for _ in 0..8 {
                let mut rows = Vec::new();
                (0..=dice.below(3)).for_each(|_| change(&mut dice, &mut state, &mut rows));
                transactions.push(rows);
            }
            let rows: Vec<Vec<Row<'_>>> = transactions
                .iter()
                .map(|rows| rows.iter().map(|(op, id, note)| (*op, *id, note.as_deref())).collect())
                .collect();
            let rows: Vec<&[Row<'_>]> = rows.iter().map(Vec::as_slice).collect();
            files.extend(one.stage(&table("orders"), &rows).await);
            let mut round = one.round_of(files);
            round.kind = CommitKind::Changes;
            one.commit_round(&round).await;
            one.transaction += rows.len() as u64;
        }
        let mut current = State::new();
        let mut out = |line: &str| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let before = current.insert(row["id"].as_i64().unwrap(), row["note"].as_str().unwrap_or("null").into());
            assert_eq!(before, None);
            Ok(())
        };
        read(&writer(&store, "reader"), "public.orders", true, &mut out).await.unwrap();
        assert_eq!(current, state, "seed {seed}");
        let report = fsck(&one.files).await.unwrap();
        assert!(report.ok, "{report:?}");
    }
}
