//! A table whose key changes, and one without a key whose rows get other values without a word in the log, start anew:
//! wherever a process dies, no row of the lake is of another key than the registry says, and in the end the lake is the
//! source.

use std::time::Duration;

use millrace_engine::Stop;
use millrace_testkit::fuse::{Blow, Fuse};
use millrace_testkit::scripted_source::{Alter, ScriptedRow, World};

use crate::stage::{Exit, Stage, block_on, fuse};

const TABLES: [&str; 2] = ["a", "b"];

/// What is done to table `a`, and where.
#[derive(Clone, Copy, Debug)]
struct Ddl {
    alter: Alter,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// A transaction of its own, and no change of the table behind it.
    Last,
    /// A transaction of its own.
    Alone,
    /// One with rows of the table before and behind it, and of another table.
    AmongRows,
    /// And changed back in the very next one, after rows under the other key.
    ThereAndBack,
}

impl Ddl {
    fn all() -> impl Iterator<Item = Self> {
        [Place::Last, Place::Alone, Place::AmongRows, Place::ThereAndBack].into_iter().flat_map(|place| {
            let alters: &[Alter] =
                if matches!(place, Place::Last) { &[Alter::Key] } else { &[Alter::Key, Alter::Fill] };
            alters.iter().map(move |&alter| Self { alter, place })
        })
    }

    /// A world with rows in both tables; `a` has no key where it is to be filled.
    fn stage(self, streamed: bool) -> Stage {
        let stage = Stage { snapshot: true, streamed, ..Stage::default() };
        if self.alter == Alter::Fill {
            no_key(&stage.world);
        }
        for id in (100..200).step_by(10) {
            stage.world.append([ScriptedRow::create("a", id, "x"), ScriptedRow::create("b", id, "y")]);
        }
        stage
    }

    fn write(self, world: &World) {
        let rows = |value: &str| -> Vec<_> {
            let of = |table: &str, id| ScriptedRow::update(table, id, value);
            vec![of("a", 110), of("b", 110), of("a", 120), of("b", 120)]
        };
        world.append(rows("before"));
        match self.place {
            Place::Last => {
                world.append_altering([], "a", 0, self.alter);
                world.append([ScriptedRow::update("b", 130, "behind")]);
                return;
            }
            Place::Alone => {
                world.append_altering([], "a", 0, self.alter);
            }
            Place::AmongRows => {
                let many: Vec<_> = rows("old").into_iter().chain(rows("new")).collect();
                world.append_altering(many, "a", 4, self.alter);
            }
            Place::ThereAndBack => {
                world.append_altering(rows("there"), "a", 0, self.alter);
                world.append([ScriptedRow::delete("a", 140), ScriptedRow::create("a", 300, "there")]);
                for _ in 0..2 {
                    world.append_altering(rows("back"), "a", 2, self.alter);
                }
            }
        }
        world.append(rows("behind"));
        world.append([ScriptedRow::delete("a", 150), ScriptedRow::create("a", 310, "behind")]);
    }
}

/// Twice another key: the table has none.
fn no_key(world: &World) {
    for _ in 0..2 {
        world.append_altering([], "a", 0, Alter::Key);
    }
}

fn assert_sound(stage: &Stage, what: &str) {
    stage.lake.verify(&stage.world, None).map_err(|breach| format!("{what}: {breach}")).expect("sound");
    stage.lake.verify_state(&stage.world, &TABLES).map_err(|breach| format!("{what}: {breach}")).expect("sound");
}

/// The lake is the source, and says so.
fn assert_finished(stage: &Stage, what: &str) {
    assert_sound(stage, what);
    for table in TABLES {
        assert!(stage.lake.is_finished(table), "{what}: {table} is not finished");
    }
}

/// The change comes while nobody looks, and a process that meets it goes wrong at `step`. Whether it came to that step.
async fn life(ddl: Ddl, streamed: bool, step: u64, blow: Blow) -> bool {
    let stage = ddl.stage(streamed);
    assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
    let id = stage.lake.entry("a").and_then(|entry| entry.snapshot).map(|done| done.id);
    ddl.write(&stage.world);
    let first = fuse(step, blow);
    let exit = stage.run(&first, "one").await;
    let what = format!("{ddl:?}, streamed: {streamed}, {blow:?} at {step}: {exit:?}\n{}", first.trace().join("\n"));
    assert_sound(&stage, &what);
    if matches!(exit, Exit::Ended(_)) {
        assert_eq!(exit.code(), 0, "{what}");
    }
    for instance in ["two", "three"] {
        assert_eq!(stage.run(&Fuse::never(), instance).await.code(), 0, "{what}");
        assert_finished(&stage, &what);
    }
    let now = stage.lake.entry("a").and_then(|entry| entry.snapshot).map(|done| done.id);
    assert!(now > id, "{what}: the table was not read anew: {id:?}, {now:?}");
    first.steps() > step
}

#[test]
fn a_table_whose_key_changed_while_nobody_looked_starts_anew_wherever_a_process_dies() {
    for ddl in Ddl::all() {
        for streamed in [false, true] {
            for blow in Blow::ALONE {
                let mut step = 0;
                while block_on(life(ddl, streamed, step, blow)) {
                    step += 1;
                }
                assert!(step > 20, "{ddl:?}: only {step} steps were tried");
            }
        }
    }
}

/// The same before the eyes of a process.
async fn before_its_eyes(ddl: Ddl, streamed: bool) -> Vec<String> {
    let stage = ddl.stage(streamed);
    let one = Fuse::never();
    let mut engine = stage.engine(&one, "one");
    (engine.settings.until_now, engine.settings.heartbeat_interval) = (false, Duration::from_secs(2));
    let (handle, stop) = Stop::new();
    let writing = async {
        while !stage.lake.is_finished("a") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ddl.write(&stage.world);
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_sound(&stage, &format!("{ddl:?}, streamed: {streamed}\n{}", one.trace().join("\n")));
        }
        handle.request();
    };
    let (ended, ()) = tokio::join!(engine.run(stop), writing);
    let what = format!("{ddl:?}, streamed: {streamed}: {ended:?}\n{}", one.trace().join("\n"));
    assert!(ended.is_ok(), "{what}");
    assert_finished(&stage, &what);
    assert!(stage.lake.entry("a").and_then(|entry| entry.snapshot).is_some_and(|done| done.id > 1), "{what}");
    one.trace()
}

#[test]
fn a_table_whose_key_changes_before_the_eyes_of_a_process_starts_anew() {
    for ddl in Ddl::all() {
        for streamed in [false, true] {
            let trace = block_on(before_its_eyes(ddl, streamed));
            let opened = trace.iter().filter(|line| line.contains("open the log")).count();
            // Where no row comes behind it, the next look at the tables sees it, and the log is read on.
            assert!(opened > 1 || matches!(ddl.place, Place::Last), "{ddl:?}: opened {opened} times");
        }
    }
}

#[test]
fn up_to_the_commit_that_reads_it_anew_the_lake_is_the_table_before_its_key_changed() {
    block_on(async {
        let ddl = Ddl { alter: Alter::Key, place: Place::AmongRows };
        let stage = ddl.stage(false);
        assert_eq!(stage.run(&Fuse::never(), "zero").await.code(), 0);
        let one = Fuse::never();
        let mut engine = stage.engine(&one, "one");
        engine.settings.until_now = false;
        let (handle, stop) = Stop::new();
        let writing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // No snapshot can be made: the table waits.
            one.refuse(Some("make a temporary slot"));
            ddl.write(&stage.world);
            tokio::time::sleep(Duration::from_secs(20)).await;
            handle.request();
        };
        let (ended, ()) = tokio::join!(engine.run(stop), writing);
        assert!(ended.is_ok(), "{ended:?}");
        assert!(stage.lake.entry("a").is_none(), "changes of a table that waits for its snapshot count");
        let value = |table: &str, id| stage.lake.state_of(table).get(&id).cloned().flatten();
        assert_eq!(value("a", 110).as_deref(), Some("before"));
        assert_eq!(value("b", 110).as_deref(), Some("behind"), "the others go on");
    });
}

#[test]
fn a_key_that_changes_while_the_table_is_read_for_the_first_time_starts_its_snapshot_anew() {
    for streamed in [false, true] {
        let mut halted = 0;
        for step in 0..60 {
            halted += block_on(async {
                let ddl = Ddl { alter: Alter::Key, place: if step % 2 == 0 { Place::AmongRows } else { Place::Last } };
                let stage = ddl.stage(streamed);
                let first = fuse(step, Blow::Pause);
                let meanwhile = async {
                    first.halted().await;
                    ddl.write(&stage.world);
                    first.resume();
                };
                let exit = tokio::select! {
                    exit = stage.run(&first, "one") => exit,
                    () = async { meanwhile.await; std::future::pending().await } => unreachable!("it never ends"),
                };
                let what = format!("paused at {step}: {exit:?}\n{}", first.trace().join("\n"));
                assert_eq!(exit.code(), 0, "{what}");
                assert_sound(&stage, &what);
                assert_eq!(stage.run(&Fuse::never(), "two").await.code(), 0, "{what}");
                assert_finished(&stage, &what);
                usize::from(first.steps() > step)
            });
        }
        assert!(halted > 20, "only {halted} steps were tried");
    }
}
