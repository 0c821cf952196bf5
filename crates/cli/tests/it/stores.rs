//! Lakes in object stores, end to end: a real server, a real database, kills in between.

use std::thread;
use std::time::Duration;

use millrace_testkit::postgres::Settings;
use millrace_testkit::stores::{Program, StoreServer};
use millrace_testkit::workload::{self, Random};

use crate::shop::{PATIENCE, Shop};

#[test]
fn a_lake_on_s3_is_what_the_source_is_after_a_kill() {
    for program in [Program::VersityGw, Program::SeaweedFs] {
        let server = StoreServer::shared(program);
        let place = server.place("raw/shop", server.port());
        let shop = Shop::with(Settings::default(), &workload::TABLES, |draft| draft.to(place));
        let check = shop.command("check", &[]).json(PATIENCE).unwrap();
        assert_eq!(check["ok"], true, "{check}");
        let load = shop.load(0);
        let mut random = Random::new(5);
        for _ in 0..3 {
            let mut running = shop.run();
            running.wait_for("committed", PATIENCE).unwrap();
            // The random moment is what is tested here; nothing is waited for.
            thread::sleep(Duration::from_millis(random.below(800)));
            running.kill().unwrap();
            shop.fsck();
        }
        load.stop().unwrap();
        shop.catch_up();
        assert!(shop.status()["head"].as_u64().is_some_and(|head| head > 6));
        shop.fsck();
        shop.compare();
        if program == Program::VersityGw {
            shop.compare_independently();
        }
    }
}
