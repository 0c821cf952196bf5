//! Sealing what must be readable again: AES-256-GCM under a key that lies in a file of its own, not in the database.
//!
//! What a sealed text belongs to is part of the seal: one agent's secret, copied to another's row, does not open.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::fault::{Cause, Refused};

/// Bytes of the key.
const KEY: usize = 32;

/// Seals and opens.
pub(crate) struct Sealer {
    key: LessSafeKey,
}

impl Sealer {
    /// With the key in `file`, which is made where there is none.
    pub(crate) fn open_or_create(file: &Path) -> Result<Self, Cause> {
        let failed = |error| Cause::File { path: file.display().to_string(), error };
        match std::fs::read_to_string(file) {
            Ok(text) => Self::from_text(&text, file),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut bytes = [0u8; KEY];
                SystemRandom::new()
                    .fill(&mut bytes)
                    .map_err(|_error| Cause::Settings("the system has no random numbers".into()))?;
                let text = format!("{}\n", BASE64.encode(bytes));
                let mut created =
                    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
                created.write_all(text.as_bytes()).and_then(|()| created.sync_all()).map_err(failed)?;
                Self::from_text(&text, file)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// With the key in `file`, which has to be there.
    pub(crate) fn open_file(file: &Path) -> Result<Self, Cause> {
        let failed = |error| Cause::File { path: file.display().to_string(), error };
        Self::from_text(&std::fs::read_to_string(file).map_err(failed)?, file)
    }

    fn from_text(text: &str, file: &Path) -> Result<Self, Cause> {
        let refused = || {
            Cause::Settings(format!(
                "`{}` must hold 32 bytes as base64, on one line; without the right key the stored credentials cannot be read",
                file.display()
            ))
        };
        let bytes = BASE64.decode(text.trim()).map_err(|_error| refused())?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_error| refused())?;
        Ok(Self { key: LessSafeKey::new(key) })
    }

    /// Seals `plain`, which belongs to `owner`.
    pub(crate) fn seal(&self, plain: &[u8], owner: &str) -> Result<String, Refused> {
        let failed = |_| Refused::failed("sealing failed");
        let mut nonce = [0u8; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(failed)?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(owner.as_bytes()), &mut sealed)
            .map_err(failed)?;
        Ok(BASE64.encode([&nonce[..], &sealed].concat()))
    }

    /// Opens what [`Self::seal`] made for `owner`.
    pub(crate) fn open(&self, sealed: &str, owner: &str) -> Result<Vec<u8>, Refused> {
        let failed =
            || Refused::failed("a sealed secret does not open: the key file is not the one that it was sealed with");
        let mut bytes = BASE64.decode(sealed).map_err(|_error| failed())?;
        if bytes.len() < NONCE_LEN {
            return Err(failed());
        }
        let mut body = bytes.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_error| failed())?;
        let plain =
            self.key.open_in_place(nonce, Aad::from(owner.as_bytes()), &mut body).map_err(|_error| failed())?.len();
        body.truncate(plain);
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_for_its_owner_only_and_with_the_same_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.key");
        let sealed = Sealer::open_or_create(&file).unwrap().seal(b"hidden", "agent:1").unwrap();
        let again = Sealer::open_or_create(&file).unwrap();
        assert_eq!(again.open(&sealed, "agent:1").unwrap(), b"hidden");
        assert!(again.open(&sealed, "agent:2").is_err());
        let other = Sealer::open_or_create(&folder.path().join("other.key")).unwrap();
        assert!(other.open(&sealed, "agent:1").is_err());
    }
}
