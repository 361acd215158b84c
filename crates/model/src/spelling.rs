//! Hints for words that are not known.

/// Longer words are not compared: the time grows with the square of the length, and a file from elsewhere can hold any word.
const LONGEST: usize = 64;

/// A question with the nearest known word, or, if none is near, all words.
#[must_use]
pub fn hint(typed: &str, known: &[&str]) -> String {
    nearest(typed, known)
        .map_or_else(|| format!("expected one of {}", listed(known, known.len())), |word| format!("did you mean `{word}`?"))
}

/// The first `most` words, and how many more there are.
#[must_use]
pub fn listed(words: &[&str], most: usize) -> String {
    let (first, others) = words.split_at(most.min(words.len()));
    let first: Vec<String> = first.iter().map(|word| format!("`{word}`")).collect();
    let others = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    first.join(", ") + &others
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
        assert_eq!(hint("lstm", &known), "expected one of `conv`, `dense`, `max_pool`");
        assert_eq!(listed(&known, 2), "`conv`, `dense` and 1 more");
        assert_eq!(nearest(&"conv".repeat(100), &known), None);
    }
}
