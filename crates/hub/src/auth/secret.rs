//! Client secrets: made here, shown once or sealed, and recognised by their hash.
//!
//! `mlr_` for secret scanners, eight characters that name it in logs, 256 random bits, and a checksum that tells a typing
//! mistake from a wrong secret. Letters and digits only, so that it needs no escaping in a form. A plain hash is enough:
//! nobody guesses 256 bits.

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use crate::fault::Refused;

const PREFIX: &str = "mlr_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters that hold 256 bits.
const BODY: usize = 43;
const NAME: usize = 8;
const CHECKSUM: usize = 6;

/// A new client secret.
pub(crate) fn new() -> Result<String, Refused> {
    let payload = format!("{PREFIX}{}_{}", letters(NAME)?, letters(BODY)?);
    let checksum = checksum(&payload);
    Ok(format!("{payload}_{checksum}"))
}

/// A new random word of the same alphabet with 256 bits: cookies, one-time links.
pub(crate) fn token() -> Result<String, Refused> {
    letters(BODY)
}

/// What is kept of it.
pub(crate) fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// Whether `secret` is the one with this hash; takes as long for a wrong one as for a right one.
pub(crate) fn matches(secret: &str, hash_of_right: &str) -> bool {
    let given = hash(secret);
    given.len() == hash_of_right.len()
        && given.bytes().zip(hash_of_right.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Whether it can be a secret of ours at all: a typing mistake cannot.
pub(crate) fn is_well_formed(secret: &str) -> bool {
    let Some((payload, end)) = secret.rsplit_once('_') else { return false };
    payload.starts_with(PREFIX) && checksum(payload) == end
}

fn letters(count: usize) -> Result<String, Refused> {
    // A byte past the largest multiple of 62 would make some letters likelier than others.
    const FAIR: u8 = 62 * 4;
    let random = SystemRandom::new();
    let mut word = String::with_capacity(count);
    while word.len() < count {
        let mut bytes = [0u8; 64];
        random.fill(&mut bytes).map_err(|_error| Refused::failed("the system has no random numbers"))?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR).map(|byte| letter(*byte));
        word.extend(fair.take(count - word.len()));
    }
    Ok(word)
}

/// One of the 62, as the byte says.
fn letter(byte: u8) -> char {
    ALPHABET.get(usize::from(byte) % ALPHABET.len()).map_or('0', |letter| char::from(*letter))
}

fn checksum(payload: &str) -> String {
    let digest = Sha256::digest(payload.as_bytes());
    digest.iter().take(CHECKSUM).map(|byte| letter(*byte)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_and_a_typing_mistake_by_its_checksum() {
        let (one, other) = (new().unwrap(), new().unwrap());
        assert!(is_well_formed(&one) && matches(&one, &hash(&one)) && !matches(&other, &hash(&one)));
        assert!(one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{one}");
        let at = PREFIX.len() + NAME + 3;
        let wrong = if &one[at..=at] == "x" { "y" } else { "x" };
        assert!(!is_well_formed(&format!("{}{wrong}{}", &one[..at], &one[at + 1..])));
    }
}
