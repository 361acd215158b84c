//! Hints for words that are not known.

/// Longer words are not compared: the time grows with the square of the length, and a file from elsewhere can hold any word.
const LONGEST: usize = 64;

/// A question with the nearest known word, or, if none is near, all words.
#[must_use]
pub fn hint(typed: &str, known: &[&str]) -> String {
    let listed = || known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    nearest(typed, known).map_or_else(|| format!("expected one of {}", listed()), |word| format!("did you mean `{word}`?"))
}

/// The known word with the fewest edits to `typed`, capital and small letters being equal. Returns `None` if each takes more edits than 1 and a third of the shorter word.
#[must_use]
pub fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    if typed.len() > LONGEST {
        return None;
    }
    let typed = typed.to_lowercase();
    let short = known.iter().filter(|word| word.len() <= LONGEST);
    let distances = short.map(|word| (strsim::damerau_levenshtein(&typed, &word.to_lowercase()), *word));
    distances.filter(|(distance, word)| *distance <= 1 + word.len().min(typed.len()) / 3).min().map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_far_ones_are_listed() {
        let known = ["conv", "dense", "max_pool"];
        assert_eq!(hint("convv", &known), "did you mean `conv`?");
        assert_eq!(hint("maxpool", &known), "did you mean `max_pool`?");
        assert_eq!(hint("MaxPool", &known), "did you mean `max_pool`?");
        assert_eq!(hint("gelu", &known), "expected one of `conv`, `dense`, `max_pool`");
        assert_eq!(nearest(&"conv".repeat(100), &known), None);
    }
}
