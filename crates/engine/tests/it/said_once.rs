//! What one commit says, and the next one does not say again.

use std::time::Duration;

use millrace_engine::Stop;
use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::ScriptedRow;

use crate::stage::{Stage, block_on, fuse};

#[test]
fn a_finished_snapshot_is_told_of_in_the_commit_that_finished_it_alone() {
    for lives in [1, 2] {
        block_on(async {
            let stage = Stage { snapshot: true, ..Stage::default() };
            stage.world.append((0..20).map(|id| ScriptedRow::create("a", id, "x")));
            let mut engine = stage.engine(&Fuse::never(), "one");
            engine.settings.until_now = lives == 2;
            let (handle, stop) = Stop::new();
            let acting = async {
                while !stage.lake.is_finished("a") || !stage.lake.is_finished("b") {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // Of two lives the first ends with the commit that finished the last snapshot.
                if lives == 1 {
                    stage.append(1);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    handle.request();
                }
            };
            let (ended, ()) = tokio::join!(engine.run(stop), acting);
            assert!(ended.is_ok(), "{ended:?}");
            if lives == 2 {
                assert!(["a", "b"].iter().any(|table| stage.lake.progress(table).is_some_and(|it| it.finished)));
                stage.append(1);
                stage.recover("the second life").await;
            }
            assert!(stage.lake.progress("a").is_none() && stage.lake.progress("b").is_none(), "{lives} lives");
        });
    }
}

#[test]
fn rounds_of_a_claim_rise_from_1_and_a_chunk_has_one_of_its_own() {
    block_on(async {
        let stage = Stage { snapshot: true, ..Stage::default() };
        stage.world.append((100..200).step_by(5).map(|id| ScriptedRow::create("a", id, "x")));
        stage.run(&fuse(30, Blow::DieAfter), "one").await;
        let writing = async {
            for _ in 0..20 {
                stage.append(1);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        let second = Fuse::never();
        let (exit, ()) = tokio::join!(stage.run(&second, "two"), writing);
        assert_eq!(exit.code(), 0);
        stage.recover("a third").await;
        // `<table>/<claim>-<round>-<part>`
        let number = |path: &String| path.rsplit('-').nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap();
        let rounds = stage.lake.rounds();
        let (mut of_chunks, mut claims) = (0, 0);
        for (claim, ..) in rounds.iter().filter(|(_, round, _)| *round == 0) {
            let commits: Vec<_> = rounds.iter().filter(|(of, round, _)| of == claim && *round > 0).collect();
            assert!(commits.windows(2).all(|pair| pair[0].1 < pair[1].1), "{commits:?}");
            let of_commits: Vec<u64> = commits.iter().map(|(_, round, _)| *round).collect();
            let files = commits.iter().flat_map(|(_, round, files)| files.iter().map(move |path| (*round, path)));
            let mut all = of_commits.clone();
            for (round, path) in files {
                match stage.lake.snapshot_of(path) {
                    None => assert_eq!(number(path), round, "a file of the stream has the round of its commit"),
                    Some(_) => {
                        assert!(
                            !of_commits.contains(&number(path)),
                            "{path} has the round of a commit: {of_commits:?}"
                        );
                        all.push(number(path));
                        of_chunks += 1;
                    }
                }
            }
            // The last has nothing to say, perhaps.
            if let Some(lowest) = all.into_iter().min() {
                claims += 1;
                assert_eq!(lowest, 1, "claim {claim}");
            }
        }
        assert!(of_chunks > 4 && claims >= 2, "{of_chunks} chunks of {claims} claims");
    });
}

#[test]
fn a_file_is_removed_once() {
    block_on(async {
        let mut stage = Stage { snapshot: true, ..Stage::default() };
        stage.append(2);
        for tables in [None, Some(&["a"][..]), None, None] {
            stage.tables = tables;
            assert_eq!(stage.run(&Fuse::never(), "a life").await.code(), 0);
            stage.append(4);
        }
        stage.lake.verify(&stage.world, None).expect("sound");
    });
}

#[test]
fn a_table_that_leaves_half_read_is_not_told_of_any_more() {
    let mut half_read = 0;
    for step in 10..60 {
        half_read += block_on(async {
            let mut stage = Stage { snapshot: true, ..Stage::default() };
            stage.world.append((0..20).map(|id| ScriptedRow::create("b", id, "x")));
            stage.run(&fuse(step, Blow::DieAfter), "one").await;
            let is_half_read = stage.lake.progress("b").is_some_and(|it| !it.finished);
            stage.tables = Some(&["a"]);
            assert_eq!(stage.run(&Fuse::never(), "two").await.code(), 0);
            assert!(stage.lake.progress("b").is_none(), "killed at {step}");
            usize::from(is_half_read)
        });
    }
    assert!(half_read > 1, "only {half_read} lives left the table half read");
}
