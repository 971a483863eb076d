//! "Did you mean": the nearest known word to one that is not known, for parameters, paths and keys that a person typed.

/// The known word that is most like `word`; `None` only when nothing is known.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|k| (strsim::jaro_winkler(word, k), k));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word() {
        let known = ["from", "to", "principal", "caller", "callee"];
        assert_eq!(nearest("princpal", known), Some("principal"));
        assert_eq!(nearest("calee", known), Some("callee"));
    }
}
