//! What the shop does next. A pure function of the seed: the same seed writes the same transactions.
//!
//! A mover knows which rows it has made, so that most of what it writes meets a row. It uses keys that no other mover
//! uses; several of them interleave their transactions in one shop without standing in each other's way.

use super::random::Random;
use super::values;

/// Keys of different movers lie this far apart: more than one makes in its life.
const KEYS_OF_ONE: u64 = 10_000_000;

/// A shop of this size no longer grows: as many customers leave as come.
const CUSTOMERS: usize = 400;

/// The same for orders.
const ORDERS: usize = 2_000;

/// Statements of one transaction, at most.
const STATEMENTS: u64 = 8;

/// Truncates and transactions with hundreds of rows are rare: once in so many transactions.
const RARE: u64 = 250;

/// Rows that the large transaction inserts.
const LARGE: u64 = 400;

/// Two tables in one truncate. Another mover may hold one and want the other: then this one gives way, long before the
/// server would call it a deadlock and break a transaction.
const TRUNCATE_BOTH: &str = "DO $$ BEGIN SET LOCAL lock_timeout = '50ms'; TRUNCATE order_lines, visits; \
                             EXCEPTION WHEN lock_not_available THEN NULL; END $$";

/// Writes one random transaction after the other.
#[derive(Clone, Debug)]
pub struct Mover {
    random: Random,
    next_key: u64,
    customers: Vec<u64>,
    orders: Vec<u64>,
}

impl Mover {
    /// The mover of `seed`, the `number`-th of this shop.
    pub fn new(seed: u64, number: u16) -> Self {
        let first = u64::from(number) * KEYS_OF_ONE + 1;
        Self {
            random: Random::new(seed ^ (u64::from(number) << 48)),
            next_key: first,
            customers: Vec::new(),
            orders: Vec::new(),
        }
    }

    /// The next transaction, from `BEGIN` to `COMMIT`, or now and then to `ROLLBACK`.
    pub fn transaction(&mut self) -> String {
        let mut sql = String::from("BEGIN;\n");
        // What a rollback takes back must be forgotten here too.
        let before = (self.customers.clone(), self.orders.clone());
        if self.random.once_in(RARE) {
            self.rare(&mut sql);
        } else {
            for _ in 0..=self.random.below(STATEMENTS) {
                self.statement(&mut sql);
            }
        }
        if self.random.once_in(15) {
            (self.customers, self.orders) = before;
            sql.push_str("ROLLBACK;\n");
        } else {
            sql.push_str("COMMIT;\n");
        }
        sql
    }

    fn rare(&mut self, sql: &mut String) {
        match self.random.below(4) {
            0 => line(sql, "TRUNCATE visits"),
            1 => line(sql, TRUNCATE_BOTH),
            2 => line(sql, "TRUNCATE order_lines"),
            _ => {
                let customer = self.customer_to_name();
                line(
                    sql,
                    &format!(
                        "INSERT INTO visits SELECT {customer}, 'page ' || n, n / 7.0, now() FROM generate_series(1, {LARGE}) n"
                    ),
                );
            }
        }
    }

    fn statement(&mut self, sql: &mut String) {
        if self.random.once_in(12) {
            return self.taken_back(sql);
        }
        match self.random.below(100) {
            0..12 => self.new_customer(sql),
            12..30 => self.new_order(sql),
            30..45 => self.change_customer(sql),
            45..62 => self.change_order(sql),
            62..76 => self.change_line(sql),
            76..88 => self.visit(sql),
            88..92 => self.rename_order(sql),
            92..94 => self.rename_customer_number(sql),
            94..98 => self.drop_order(sql),
            _ => self.drop_customer(sql),
        }
    }

    /// A savepoint, something behind it, and back: nothing of it may arrive.
    fn taken_back(&mut self, sql: &mut String) {
        let before = (self.customers.clone(), self.orders.clone());
        line(sql, "SAVEPOINT here");
        self.new_customer(sql);
        self.change_order(sql);
        self.drop_order(sql);
        line(sql, "ROLLBACK TO here");
        (self.customers, self.orders) = before;
    }

    fn new_customer(&mut self, sql: &mut String) {
        if self.customers.len() >= CUSTOMERS {
            self.drop_customer(sql);
        }
        let key = self.new_key();
        let random = &mut self.random;
        let notes = if random.once_in(4) { values::large_text(random) } else { values::text_or_null(random) };
        let row = [
            key.to_string(),
            values::text(random),
            values::text_or_null(random),
            values::amount(random),
            random.once_in(2).to_string(),
            values::float(random),
            values::float(random),
            values::date(random),
            values::moment(random),
            values::moment_or_null(random),
            values::uuid(random),
            values::json(random),
            values::bytes(random),
            notes,
        ];
        line(sql, &format!("INSERT INTO customers VALUES ({})", row.join(", ")));
        self.customers.push(key);
    }

    fn new_order(&mut self, sql: &mut String) {
        if self.customers.is_empty() {
            return self.new_customer(sql);
        }
        if self.orders.len() >= ORDERS {
            self.drop_order(sql);
        }
        let (key, customer) = (self.new_key(), self.customer_to_name());
        let random = &mut self.random;
        let row = [
            key.to_string(),
            customer.to_string(),
            format!("'{}'", random.one_of(&["new", "paid", "packed"])),
            values::amount(random),
            values::moment(random),
            values::moment_or_null(random),
            values::json(random),
        ];
        line(sql, &format!("INSERT INTO orders VALUES ({})", row.join(", ")));
        for number in 1..=random.below(4) {
            let (sku, quantity, price) = (values::text(random), random.below(20), values::amount(random));
            let gift = values::flag(random);
            line(sql, &format!("INSERT INTO order_lines VALUES ({key}, {number}, {sku}, {quantity}, {price}, {gift})"));
        }
        self.orders.push(key);
    }

    fn change_customer(&mut self, sql: &mut String) {
        let Some(key) = pick(&mut self.random, &self.customers) else { return };
        let random = &mut self.random;
        let change = match random.below(6) {
            0 => format!("notes = {}", values::large_text(random)),
            1 => format!("balance = {}, seen_at = {}", values::amount(random), values::moment_or_null(random)),
            2 => format!("profile = {}, email = {}", values::json(random), values::text_or_null(random)),
            3 => format!("rating = {}, score = {}", values::float(random), values::float(random)),
            4 => format!("avatar = {}, born = {}", values::bytes(random), values::date(random)),
            _ => "active = NOT active".to_owned(),
        };
        line(sql, &format!("UPDATE customers SET {change} WHERE id = {key}"));
    }

    fn change_order(&mut self, sql: &mut String) {
        let Some(key) = pick(&mut self.random, &self.orders) else { return };
        let random = &mut self.random;
        let (total, shipped, details) = (values::amount(random), values::moment_or_null(random), values::json(random));
        line(
            sql,
            &format!(
                "UPDATE orders SET status = 'shipped', total = {total}, shipped_at = {shipped}, details = {details} WHERE id = {key}"
            ),
        );
    }

    fn change_line(&mut self, sql: &mut String) {
        let Some(key) = pick(&mut self.random, &self.orders) else { return };
        let random = &mut self.random;
        let (price, gift) = (values::amount(random), values::flag(random));
        line(
            sql,
            &match random.below(5) {
                0 => format!("DELETE FROM order_lines WHERE order_id = {key} AND line = 1"),
                // One statement that shifts the keys of several rows.
                1 => format!("UPDATE order_lines SET line = line + 100 WHERE order_id = {key} AND line < 100"),
                _ => format!(
                    "UPDATE order_lines SET quantity = quantity + 1, price = {price}, gift = {gift} WHERE order_id = {key}"
                ),
            },
        );
    }

    fn visit(&mut self, sql: &mut String) {
        let customer = self.customer_to_name();
        let random = &mut self.random;
        let (page, seconds, at) = (values::text_or_null(random), values::float(random), values::moment_or_null(random));
        line(
            sql,
            &match random.below(8) {
                0 => format!(
                    "DELETE FROM visits WHERE ctid IN (SELECT ctid FROM visits WHERE customer_id = {customer} LIMIT 2)"
                ),
                1 => format!("UPDATE visits SET seconds = {seconds} WHERE customer_id = {customer}"),
                // Two equal rows: without a key they are two all the same.
                2 => {
                    format!("INSERT INTO visits SELECT {customer}, {page}, {seconds}, {at} FROM generate_series(1, 2)")
                }
                _ => format!("INSERT INTO visits VALUES ({customer}, {page}, {seconds}, {at})"),
            },
        );
    }

    fn rename_order(&mut self, sql: &mut String) {
        let Some(key) = pick(&mut self.random, &self.orders) else { return };
        let renamed = self.new_key();
        line(sql, &format!("UPDATE orders SET id = {renamed}, status = 'moved' WHERE id = {key}"));
        self.orders.retain(|order| *order != key);
        self.orders.push(renamed);
    }

    /// A key change of a row with a large text that the log does not repeat. Only a customer without orders may move.
    fn rename_customer_number(&mut self, sql: &mut String) {
        let Some(key) = pick(&mut self.random, &self.customers) else { return };
        let renamed = self.new_key();
        line(sql, &format!("DELETE FROM orders WHERE customer_id = {key}"));
        line(sql, &format!("UPDATE customers SET id = {renamed} WHERE id = {key}"));
        self.customers.retain(|customer| *customer != key);
        self.customers.push(renamed);
    }

    fn drop_order(&mut self, sql: &mut String) {
        let Some(key) = pick(&mut self.random, &self.orders) else { return };
        line(sql, &format!("DELETE FROM orders WHERE id = {key}"));
        self.orders.retain(|order| *order != key);
    }

    fn drop_customer(&mut self, sql: &mut String) {
        let Some(key) = pick(&mut self.random, &self.customers) else { return };
        line(sql, &format!("DELETE FROM customers WHERE id = {key}"));
        self.customers.retain(|customer| *customer != key);
    }

    fn customer_to_name(&mut self) -> u64 {
        // Before the first customer: a number that only this mover will ever use.
        pick(&mut self.random, &self.customers).unwrap_or(self.next_key)
    }

    fn new_key(&mut self) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        key
    }
}

fn pick(random: &mut Random, keys: &[u64]) -> Option<u64> {
    if keys.is_empty() { None } else { Some(*random.one_of(keys)) }
}

fn line(sql: &mut String, statement: &str) {
    sql.push_str(statement);
    sql.push_str(";\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_writes_the_same_transactions_and_another_seed_others() {
        let written = |seed| {
            let mut mover = Mover::new(seed, 0);
            (0..200).map(|_| mover.transaction()).collect::<String>()
        };
        assert_eq!(written(7), written(7));
        assert_ne!(written(7), written(8));
    }

    #[test]
    fn every_kind_of_statement_comes_up() {
        let mut mover = Mover::new(1, 0);
        let all: String = (0..3000).map(|_| mover.transaction()).collect();
        for kind in [
            "INSERT INTO customers",
            "UPDATE customers SET notes",
            "UPDATE customers SET id",
            "DELETE FROM customers",
            "UPDATE orders SET id",
            "TRUNCATE visits",
            "TRUNCATE order_lines, visits",
            "SAVEPOINT",
            "ROLLBACK TO",
            "ROLLBACK;",
            "line + 100",
            "generate_series(1, 400)",
            "'infinity'",
            "'NaN'",
        ] {
            assert!(all.contains(kind), "{kind}");
        }
    }
}
