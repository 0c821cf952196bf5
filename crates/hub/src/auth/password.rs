//! Passwords of people: Argon2id, away from the threads that serve, and the same time for someone who does not exist.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::fault::Refused;

/// Fewest characters.
const LEAST: usize = 12;
/// Most bytes: nobody types more, and hashing costs.
const MOST: usize = 1024;

/// What the passwords that are tried first are made of, the longer before what they contain.
const WELL_KNOWN: &str = include_str!("well_known.txt");

/// What a password is measured against where there is no person, so that the answer takes as long.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| make("nobody has this password"));

/// Each takes 19 MiB and a core for a while: no more at once than there are cores, however many ask.
static AT_ONCE: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, std::num::NonZero::get)));

/// Computes it away from the threads that serve, when there is room. `None`: it broke down.
async fn when_there_is_room<T: Send + 'static>(computed: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let room = AT_ONCE.acquire().await.ok()?;
    // Whoever asked may have gone meanwhile; what is computed takes its room until it has ended.
    tokio::task::spawn_blocking(move || (computed(), room).0).await.ok()
}

fn make(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}

/// What is wrong with a new password.
pub(crate) fn refused(password: &str, email: &str) -> Option<String> {
    let count = password.chars().count();
    if count < LEAST {
        return Some(format!("must have at least {LEAST} characters; a few words make a good one"));
    }
    if password.len() > MOST {
        return Some(format!("must have at most {MOST} bytes"));
    }
    let mut different: Vec<char> = password.to_lowercase().chars().collect();
    different.sort_unstable();
    different.dedup();
    let lower = password.to_lowercase();
    // What is left without them all: several of them together are as easy as one. Well-known passwords of this length are
    // made of well-known short ones.
    let rest = WELL_KNOWN.lines().fold(lower.clone(), |rest, word| rest.replace(word, ""));
    let sounds_known = rest.chars().filter(|letter| letter.is_alphanumeric()).count() < LEAST / 2;
    if different.len() < 5 || sounds_known || lower == email.to_lowercase() {
        return Some("is too easy to guess; take a few words that do not belong together".into());
    }
    None
}

/// What is kept of it.
pub(crate) async fn hash(password: &str) -> Result<String, Refused> {
    let password = password.to_owned();
    let hashed = when_there_is_room(move || make(&password)).await;
    hashed.flatten().ok_or_else(|| Refused::failed("a password could not be hashed"))
}

/// Whether it is the one with this hash. `None`: there is no such person; that takes as long.
pub(crate) async fn matches(password: &str, hash: Option<&str>) -> bool {
    let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
    // An empty one is no hash: its person is in no account any more.
    let hash = hash.filter(|hash| !hash.is_empty());
    let known = hash.is_some();
    let checked = when_there_is_room(move || {
        let Some(text) = hash.or_else(|| NOBODY.clone()) else { return false };
        let Ok(parsed) = PasswordHash::new(&text) else { return false };
        password.len() <= MOST && Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
    });
    checked.await.unwrap_or(false) && known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_nobody_has_none() {
        let kept = hash("correct horse battery").await.unwrap();
        assert!(kept.starts_with("$argon2id$"));
        assert!(matches("correct horse battery", Some(&kept)).await);
        assert!(!matches("correct horse", Some(&kept)).await);
        assert!(!matches("nobody has this password", None).await);
        assert!(!matches("nobody has this password", Some("")).await);
    }

    #[test]
    fn a_short_or_well_known_password_is_refused_with_the_reason() {
        let of_people = ["short", "passwordpassword", "aaaaaaaaaaaaaaaa", "millrace123456789", "ann@example.com"];
        // Those of at least twelve characters in lists of passwords that were found most often.
        let of_lists = [
            "123456789012",
            "1234567890123",
            "1q2w3e4r5t6y",
            "1qaz2wsx3edc",
            "1qaz2wsx3edc4rfv",
            "qwerty123456",
            "qwertyuiop123",
            "asdfghjkl123",
            "password1234",
            "Password123!",
            "P@ssw0rd1234",
            "administrator",
            "letmeinletmein",
            "welcome12345",
            "iloveyou1234",
            "111111111111",
            "000000000000",
            "abcdefghijkl",
            "trustno1trustno1",
            "superman1234",
            "football1234",
            "sunshine2024!",
            "Summer2026!!!",
            "liverpoolfc1",
            "qazwsxedcrfv",
            "changeme1234",
            "dragon-monkey",
            "monkeydragonshadow",
        ];
        for easy in of_people.into_iter().chain(of_lists) {
            assert!(refused(easy, "ann@example.com").is_some(), "{easy}");
        }
        for good in
            ["correct horse battery staple", "four words that differ", "a summer on the old canal", "gV7-kkd2-pQ0x"]
        {
            assert_eq!(refused(good, "ann@example.com"), None, "{good}");
        }
    }
}
