//! `hub doctor`: everything that can be found wrong with a hub from where it runs, each with its cure. Changes nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use millrace_model::{Clock, Fault, Finding, Refusal, Timestamp};
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use super::{backup as copies, certificate};
use crate::db::{Db, Place, backup, migrate};
use crate::fault::Cause;
use crate::serve;
use crate::settings::{Settings, TlsFiles};

/// How long the hub may take to answer at its own address.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clocks further apart are worth a word (microseconds).
const SKEW: i64 = 5_000_000;
const DAY: i64 = 24 * 3600 * 1_000_000;
/// A certificate that ends sooner is to be renewed.
const SOON: i64 = 21 * DAY;
/// What group and others may do with a file.
const OTHERS: u32 = 0o077;
/// Less room than this is little, and less than that is none.
const LITTLE: u64 = 1 << 30;
const NONE: u64 = 100 << 20;

/// Looks at everything.
pub async fn doctor(settings: &Settings, clock: &dyn Clock) -> Vec<Finding> {
    // The provider of TLS; one that is there already stays.
    let _set_already = rustls::crypto::ring::default_provider().install_default();
    let mut findings = folder(settings);
    findings.extend(database(settings, clock.now()).await);
    findings.extend(disk(settings));
    if let Some(files) = &settings.tls {
        findings.push(tls(files, &settings.public_url, clock.now()));
    }
    findings.push(public_url(&settings.public_url).await);
    findings
}

/// An error as another room tells it.
fn of(subject: &str, cause: Cause) -> Finding {
    let fault = Fault::from(cause);
    let message = fault.to_string();
    let message = message.strip_prefix(&format!("{}: ", fault.code)).unwrap_or(&message).to_owned();
    Finding::error(fault.code, Refusal::Check, subject, message, &fault.cure)
}

fn folder(settings: &Settings) -> Vec<Finding> {
    let folder = &settings.data;
    let failed = |error| of("folder", Cause::File { path: folder.display().to_string(), error });
    let probe = folder.join(".millrace-doctor");
    let written = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    let mut findings = vec![match written {
        Ok(()) => Finding::info("HB-002", "folder", format!("`{}` can be written to", folder.display())),
        Err(error) => failed(error),
    }];
    findings.extend(rights("key file", &settings.key_file()));
    if let Place::Sqlite(file) = settings.place() {
        findings.extend(rights("database file", &file));
    }
    findings
}

/// Whether a file is for the hub's user alone; nothing where there is no such file.
fn rights(subject: &str, path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    if mode & OTHERS == 0 {
        return Some(Finding::info("HB-012", subject, format!("`{}` is for the hub's user alone", path.display())));
    }
    let message = format!("`{}` can be read by others of this machine (mode {mode:o})", path.display());
    Some(Finding::warning("HB-012", subject, message, format!("chmod 600 {}", path.display())))
}

async fn database(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    let place = settings.place();
    if let Place::Sqlite(file) = &place
        && !file.exists()
    {
        let message = format!("there is none yet; the first start makes `{}`", file.display());
        return vec![Finding::info("HB-003", "database", message)];
    }
    let db = match Db::connect(&place).await {
        Ok(db) => db,
        Err(cause) => return vec![of("database", cause)],
    };
    let mut findings = vec![Finding::info("HB-003", "database", "it answers")];
    let version = migrate::version(db.pool()).await;
    let is_current = matches!(version, Ok(version) if version == migrate::newest());
    findings.push(match version {
        Ok(version) if version == migrate::newest() => {
            Finding::info("HB-011", "tables", format!("they are up to date (version {version})"))
        }
        Ok(version) if version < migrate::newest() => {
            let message = format!("they are version {version}, this program wants {}", migrate::newest());
            let cure = "start the hub: it brings them up to date; `hub migrate --plan` shows how";
            Finding::warning("HB-011", "tables", message, cure)
        }
        Ok(version) => {
            let message = format!("they are version {version}, this program knows {}", migrate::newest());
            let cure = "run the newer program, or restore the backup from before its first start";
            Finding::error("HB-011", Refusal::Settings, "tables", message, cure)
        }
        Err(cause) => of("tables", cause),
    });
    if is_current {
        findings.push(match copies::fits(&db, settings).await {
            Ok(()) => Finding::info("HB-009", "key", "it opens what is sealed in the database"),
            Err(cause) => of("key", cause),
        });
        findings.extend(clock(&db, now).await);
    }
    db.pool().close().await;
    findings
}

/// The machine's clock against the database server's, or against what was written before.
async fn clock(db: &Db, now: Timestamp) -> Option<Finding> {
    const CURE: &str = "let the machine keep its time by NTP: `timedatectl set-ntp true`";
    if db.is_shared()
        && let Ok(theirs) = backup::server_time(db.pool()).await
    {
        let apart = now.0 - theirs;
        let seconds = apart.abs() / 1_000_000;
        return Some(if apart.abs() <= SKEW {
            Finding::info("HB-013", "clock", "it agrees with the database server's")
        } else {
            let word = if apart > 0 { "ahead of" } else { "behind" };
            let message = format!("it is {seconds} s {word} the database server's; leases and tokens go by it");
            Finding::warning("HB-013", "clock", message, CURE)
        });
    }
    let newest = backup::newest(db.pool()).await.ok().flatten()?;
    Some(if newest <= now.0 + SKEW {
        Finding::info("HB-013", "clock", format!("it says {now}, later than anything in the database"))
    } else {
        let message = format!("it says {now}, and the database has seen {} already", Timestamp(newest));
        Finding::error("HB-013", Refusal::Check, "clock", message, CURE)
    })
}

fn disk(settings: &Settings) -> Option<Finding> {
    let room = rustix::fs::statvfs(&settings.data).ok()?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let path = settings.data.display();
    let message = format!("{} MB are free below `{path}`", free >> 20);
    let cure = "make room on this disk, or give --data a folder on another one";
    Some(match free {
        0..NONE => Finding::error("HB-016", Refusal::Check, "disk", message, cure),
        NONE..LITTLE => Finding::warning("HB-016", "disk", message, cure),
        _ => Finding::info("HB-016", "disk", message),
    })
}

fn tls(files: &TlsFiles, public_url: &str, now: Timestamp) -> Finding {
    if let Err(cause) = serve::tls(files) {
        return of("certificate", cause);
    }
    let first = CertificateDer::pem_file_iter(&files.certificate).ok().and_then(|mut all| all.next()?.ok());
    let times = first.as_ref().and_then(|first| certificate::validity(first));
    let Some((first, (from, until))) = first.zip(times) else {
        return Finding::warning("HB-015", "certificate", "its times cannot be read", "look at it with `openssl x509`");
    };
    let host =
        reqwest::Url::parse(public_url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let named = match (ParsedCertificate::try_from(&first), name) {
        (Ok(parsed), Ok(name)) => verify_server_name(&parsed, &name).is_ok(),
        _ => false,
    };
    let renew = "renew it; the hub reads it again by itself when its file changes, and on SIGHUP";
    let days = (until.0 - now.0) / DAY;
    if until <= now {
        return Finding::error("HB-015", Refusal::Check, "certificate", format!("it has ended on {until}"), renew);
    }
    if from > now {
        let message = format!("it is valid from {from} on only");
        return Finding::error(
            "HB-015",
            Refusal::Check,
            "certificate",
            message,
            "look at the machine's clock, or wait",
        );
    }
    if !named {
        let message = format!("it is not for `{host}`, the host of HUB_PUBLIC_URL");
        let cure = "get one with this name in it, or put the certificate's name into HUB_PUBLIC_URL";
        return Finding::error("HB-015", Refusal::Check, "certificate", message, cure);
    }
    let message = format!("it is valid for {days} days more, until {until}");
    if until.0 - now.0 < SOON {
        return Finding::warning("HB-015", "certificate", message, renew);
    }
    Finding::info("HB-015", "certificate", message)
}

async fn public_url(url: &str) -> Finding {
    const CURE: &str =
        "look whether the hub runs, and whether name, port, proxy and certificate of HUB_PUBLIC_URL lead to it";
    let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
    let Ok(client) = client else {
        return Finding::warning("HB-014", "public address", "it could not be asked: TLS does not start", CURE);
    };
    match client.get(format!("{url}/livez")).send().await {
        Ok(answer) if answer.status().is_success() => {
            let body: serde_json::Value = answer.json().await.unwrap_or_default();
            if body.get("alive") == Some(&true.into()) {
                return Finding::info("HB-014", "public address", format!("a hub answers at {url}"));
            }
            Finding::error(
                "HB-014",
                Refusal::Check,
                "public address",
                format!("something else than a hub answers at {url}"),
                CURE,
            )
        }
        Ok(answer) => {
            let message = format!("{url}/livez is answered with {}", answer.status());
            Finding::error("HB-014", Refusal::Check, "public address", message, CURE)
        }
        Err(error) => {
            let mut message = format!("nobody answers at {url}: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(beneath) = cause {
                message += &format!(": {beneath}");
                cause = beneath.source();
            }
            Finding::error("HB-014", Refusal::Check, "public address", message, CURE)
        }
    }
}
