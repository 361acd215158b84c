//! How numbers are written, in configs, by every command and on every page.

use std::ops::Range;

/// Numbers that are written out. Others have an exponent: `1e-8`.
pub(crate) const WRITTEN_OUT: Range<f64> = 1e-4..1e6;

/// A number with every digit.
pub(crate) fn exact(number: f64) -> String {
    let is_written_out = number == 0.0 || !number.is_finite() || WRITTEN_OUT.contains(&number.abs());
    if is_written_out { number.to_string() } else { format!("{number:e}") }
}

/// A TOML text with this notation, in place of TOML's `0.00000001`, for values that are numbers with decimals.
pub(super) fn in_toml(text: &str) -> String {
    let line = |line: &str| {
        let (key, value) = line.split_once(" = ")?;
        let number: f64 = value.trim_end().parse().ok().filter(|_| value.contains('.'))?;
        let is_long = number != 0.0 && number.is_finite() && !WRITTEN_OUT.contains(&number.abs());
        is_long.then(|| format!("{key} = {}\n", exact(number)))
    };
    text.split_inclusive('\n').map(|found| line(found).unwrap_or_else(|| found.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_of_a_config_have_an_exponent_and_other_lines_stay() {
        let text = "[a]\nsmall = 0.00000001\nlarge = 100000000000000000000.0\nnegative = -0.0000025\nplain = 0.001\none = 1.0\nwhole = 10000000\nword = \"0.00000001\"\n";
        let expected =
            "[a]\nsmall = 1e-8\nlarge = 1e20\nnegative = -2.5e-6\nplain = 0.001\none = 1.0\nwhole = 10000000\nword = \"0.00000001\"\n";
        assert_eq!(in_toml(text), expected);
        let [before, after] = [text, expected].map(|text| text.parse::<toml::Table>().unwrap());
        assert_eq!(before, after, "the values are the same to the last bit");
    }
}
