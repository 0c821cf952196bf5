//! Texts of people as columns hold them: any character, also the one that PostgreSQL has no place for.

/// As it is stored: the character 0 as `\0`, a backslash doubled. Equal texts are stored equal, others are not.
pub(crate) fn stored(text: &str) -> String {
    text.replace('\\', r"\\").replace('\0', r"\0")
}

/// As it was given.
pub(crate) fn given(stored: String) -> String {
    if !stored.contains('\\') {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut rest = stored.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' if rest.next() == Some('0') => text.push('\0'),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_no_stored_one_holds_the_character_0() {
        for text in ["", "plain", "\0", r"\0", r"\\0", "a\\\0b\\", "\\\\\0\0"] {
            let kept = stored(text);
            assert!(!kept.contains('\0'), "{text:?}");
            assert_eq!(given(kept), text);
        }
    }
}
