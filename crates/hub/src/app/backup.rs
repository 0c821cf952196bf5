//! `hub backup`: a copy from which a hub can be restored, and in words what belongs to it and is not in it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;

use crate::auth::seal::Sealer;
use crate::db::{Db, Place, backup, keys};
use crate::fault::Cause;
use crate::settings::Settings;

/// What `hub backup` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// `sqlite` or `postgres`.
    pub database: &'static str,
    /// The copy; absent where the server's own tools make it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The command that makes the copy, where this one did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What belongs to it and is not in it.
    pub not_in_it: Vec<String>,
    /// How a hub is restored from it, step by step.
    pub restore: Vec<String>,
}

/// Copies the database of a hub, which may run meanwhile, to `to`.
pub async fn back_up(settings: &Settings, to: Option<&Path>) -> Result<Backup, Cause> {
    let key = settings.key_file().display().to_string();
    let mut not_in_it =
        vec![format!("{key}: the key that seals secrets; keep it apart from the copy, without it no secret opens")];
    if let Some(tls) = &settings.tls {
        not_in_it.push(format!("{} and {}: certificate and key", tls.certificate.display(), tls.key.display()));
    }
    not_in_it.push("the hub's environment: HUB_PUBLIC_URL and the like".into());
    match settings.place() {
        Place::Postgres(url) => Ok(of_server(&url, not_in_it, &key)),
        Place::Sqlite(file) | Place::Copy(file) => {
            let Some(to) = to else {
                return Err(Cause::NoPlace);
            };
            let bytes = of_file(&file, to, settings).await?;
            let restore = vec![
                "stop the hub".into(),
                format!("put the copy in place of {}, and remove {0}-wal and {0}-shm", file.display()),
                format!("put the key file back as {key}, readable by the hub's user alone"),
                "start the hub; agents come back by themselves, and run on meanwhile".into(),
            ];
            let file = Some(to.display().to_string());
            Ok(Backup { database: "sqlite", file, bytes: Some(bytes), run: None, not_in_it, restore })
        }
    }
}

fn wrong(value: &str, why: &str, cure: &str) -> Cause {
    Cause::Setting { name: "--to".into(), value: value.into(), why: why.into(), cure: cure.into() }
}

async fn of_file(file: &Path, to: &Path, settings: &Settings) -> Result<u64, Cause> {
    let failed = |path: &Path, error| Cause::File { path: path.display().to_string(), error };
    if !file.exists() {
        return Err(failed(file, std::io::ErrorKind::NotFound.into()));
    }
    if to.exists() {
        return Err(wrong(&to.display().to_string(), "is there already", "name a file that is not there yet"));
    }
    // Made first, so that nobody else can read it at any moment; SQLite fills an empty file as it makes a new one.
    let unwritable = |error: std::io::Error| {
        wrong(
            &to.display().to_string(),
            &format!("cannot be written: {error}"),
            "name a file in a folder that is there",
        )
    };
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(to).map_err(unwritable)?;
    made.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(unwritable)?;
    drop(made);
    let copied = copy(file, to, settings).await;
    if copied.is_err() {
        // What is not whole is no copy, and would be in the way of the next one.
        std::fs::remove_file(to).map_err(|error| failed(to, error))?;
    }
    copied?;
    std::fs::metadata(to).map(|file| file.len()).map_err(|error| failed(to, error))
}

/// Copies, and looks whether a hub could be restored from the copy.
async fn copy(file: &Path, to: &Path, settings: &Settings) -> Result<(), Cause> {
    backup::copy(&Place::Sqlite(file.to_owned()), to).await?;
    let copy = Db::connect(&Place::Copy(to.to_owned())).await?;
    if let Some(damage) = backup::damage(copy.pool()).await? {
        return Err(Cause::Damaged(format!("the copy is not whole: {damage}")));
    }
    fits(&copy, settings).await?;
    copy.pool().close().await;
    Ok(())
}

/// Whether the key file opens what is sealed in the database: the pair is worth nothing otherwise.
pub(super) async fn fits(db: &Db, settings: &Settings) -> Result<(), Cause> {
    let sealed = keys::live(db.pool()).await.map_err(|refused| Cause::Damaged(refused.to_string()))?;
    if sealed.is_empty() {
        return Ok(());
    }
    let file = settings.key_file();
    let sealer = Sealer::open_file(&file)?;
    let opens = sealed.iter().all(|key| sealer.open(&key.sealed, &key.id).is_ok());
    if opens {
        return Ok(());
    }
    Err(Cause::OtherKey(format!("`{}` is not the key that this database's secrets are sealed with", file.display())))
}

fn of_server(url: &str, not_in_it: Vec<String>, key: &str) -> Backup {
    let named = without_password(url);
    Backup {
        database: "postgres",
        file: None,
        bytes: None,
        run: Some(format!("pg_dump --format=custom --no-owner --file=hub.dump '{named}'")),
        not_in_it,
        restore: vec![
            "stop every hub process".into(),
            format!("pg_restore --clean --if-exists --no-owner --exit-on-error --dbname='{named}' hub.dump"),
            format!("put the key file back as {key}, the same at every hub process"),
            "start the hub; agents come back by themselves, and run on meanwhile".into(),
        ],
    }
}

/// The password is for the tool to ask for, not for a shell's history.
fn without_password(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else { return "DATABASE_URL".into() };
    if url.set_password(None).is_err() {
        return "DATABASE_URL".into();
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_a_server_names_it_without_its_password() {
        let made = of_server("postgres://hub:hidden@db.internal:5432/hub?sslmode=require", Vec::new(), "hub.key");
        let run = made.run.unwrap();
        assert!(run.contains("postgres://hub@db.internal:5432/hub?sslmode=require"), "{run}");
        assert!(!run.contains("hidden") && !made.restore.concat().contains("hidden"));
    }
}
