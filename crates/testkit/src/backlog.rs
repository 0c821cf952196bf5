//! What the benchmarks measure with: one table, and changes to it that the server makes by itself, far faster than any
//! client could send them.

use crate::fault::Result;
use crate::postgres::Database;

/// The benchmark's table, in the schema `public`.
pub const TABLE: &str = "events";

/// Changes of one transaction: 80 inserts, 18 updates, 2 deletes.
pub const CHANGES_OF_A_BLOCK: u64 = 100;

/// Makes the table, empty, and what fills it.
pub fn create(database: &Database) -> Result<()> {
    database.sql(include_str!("backlog.sql")).map(drop)
}

/// Writes blocks `first..past`, one transaction of a hundred changes each. Call it with rising numbers, without gaps.
pub fn write(database: &Database, first: u64, past: u64) -> Result<()> {
    let mut session = database.session()?;
    // The log is the same; only the wait for the disk after each of the transactions is left out.
    session.run("SET synchronous_commit = off")?;
    session.run(&call(first, past))?;
    // The log is read up to what is on disk: a commit that waits for it takes all before it along.
    session.run("SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'backlog', 'written')").map(drop)
}

/// The statement that writes blocks `first..past`.
pub fn call(first: u64, past: u64) -> String {
    format!("CALL write_events({first}, {past})")
}

/// Inserts `rows` rows in one transaction; the table was empty.
pub fn write_one_transaction(database: &Database, rows: u64) -> Result<()> {
    database.sql(&format!("INSERT INTO {TABLE} SELECT * FROM new_events(0, {rows})")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Server;

    #[test]
    fn every_block_has_its_hundred_changes_in_one_transaction() {
        let server = Server::start().unwrap();
        let database = server.create_database("bench").unwrap();
        create(&database).unwrap();
        database.sql("SELECT pg_create_logical_replication_slot('counted', 'test_decoding')").unwrap();
        write(&database, 0, 50).unwrap();
        write(&database, 50, 60).unwrap();
        let counted = database.rows(
            "SELECT count(*), count(*) FILTER (WHERE data LIKE '%: INSERT:%'), count(*) FILTER (WHERE data LIKE '%: UPDATE:%'),
                    count(*) FILTER (WHERE data LIKE '%: DELETE:%'), count(DISTINCT xid::text)
             FROM pg_logical_slot_get_changes('counted', NULL, NULL, 'include-xids', 'off') WHERE data LIKE 'table %'",
        );
        assert_eq!(counted.unwrap(), [["5998", "4800", "1080", "118", "60"]]);
    }
}
