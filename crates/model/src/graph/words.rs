//! The words of a layer in a config.

use std::str::FromStr;

/// Words that are read one after the other.
pub(super) struct Words<'a> {
    rest: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
}

/// Words that end an operation's own: what it takes and what it is called.
const OUTSIDE: [&str; 2] = ["from", "as"];

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.split_whitespace().peekable() }
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        self.rest.next()
    }

    /// The next word, if it is the operation's own.
    pub(super) fn own(&mut self) -> Option<&'a str> {
        self.rest.next_if(|word| !OUTSIDE.contains(word))
    }

    /// A value that must be there.
    pub(super) fn value<T: FromStr>(&mut self, what: &str, example: &str) -> Result<T, String> {
        let word = self.own().ok_or_else(|| format!("lacks {what}; expected for example `{example}`"))?;
        word.parse().map_err(|_| format!("has `{word}` for {what}; expected for example `{example}`"))
    }

    /// Rows and columns, as `3x3` or `3`, which must be there.
    pub(super) fn sides(&mut self, what: &str, example: &str) -> Result<[usize; 2], String> {
        let word: String = self.value(what, example)?;
        let side = |text: &str| text.parse().ok();
        let sides = match word.split_once('x') {
            Some((rows, columns)) => side(rows).zip(side(columns)),
            None => side(&word).zip(side(&word)),
        };
        sides.map(|(rows, columns)| [rows, columns]).ok_or_else(|| format!("has `{word}` for {what}; expected for example `{example}`"))
    }

    /// Reads `key value` pairs until the operation's own words end; `option` reads the value of a key and says whether there is such a key.
    pub(super) fn options(&mut self, keys: &str, mut option: impl FnMut(&str, &mut Self) -> Result<bool, String>) -> Result<(), String> {
        let mut seen = Vec::new();
        while let Some(key) = self.own() {
            if seen.contains(&key) {
                return Err(format!("has `{key}` twice"));
            }
            seen.push(key);
            if !option(key, self)? {
                return Err(format!("has `{key}`; expected {keys}"));
            }
        }
        Ok(())
    }
}
