//! Every kind in every form, read by readers that are not ours. The kinds that PostgreSQL has are read so from a real server
//! too; this is for all that the model has.

use std::fs;
use std::path::PathBuf;

use millrace_testkit::lake::{self, Readers};

use crate::forms::{every_kind, forms, written};

#[tokio::test]
async fn readers_that_are_not_ours_find_every_kind_alike_in_every_form() {
    let schema = every_kind();
    // The lakes of a failed test are what one wants to look at.
    let mut folder = tempfile::tempdir().unwrap();
    folder.disable_cleanup(true);
    let mut lakes: Vec<PathBuf> = Vec::new();
    for (number, form) in forms().into_iter().enumerate() {
        let (store, _) = written(form, &schema).await;
        let lake = folder.path().join(number.to_string());
        for (path, bytes) in store.contents() {
            let path = lake.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        lakes.push(lake);
    }
    let readers = if std::env::var_os("MILLRACE_LONG").is_some() { Readers::All } else { Readers::Usual };
    let rows = lake::alike(readers, "shop.public.every kind", lakes.iter().map(|lake| &**lake)).unwrap();
    assert_eq!(rows, 30);
    folder.disable_cleanup(false);
}
