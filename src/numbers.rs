//! Numbers as people read them, in every command and on every page.
//!
//! From 1e-4 up to 1e6 numbers are written out; others have an exponent, as in a config: `1e-8`. Zeros at the end are left out, except for losses, whose decimals say how
//! exact they are.

use crate::config::Measure;
use crate::config::notation::{WRITTEN_OUT, exact};
use crate::metrics::Metrics;

/// A count with thousands separators: `60,000`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count with its noun: `1 epoch`, `1,000 steps`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number rounded to an integer, with thousands separators.
#[must_use]
pub fn rounded(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a speed, rounded for people")]
    grouped(number.round() as u64)
}

/// The title of a metric, such as `PSNR`.
#[must_use]
pub fn metric_title(name: &str) -> String {
    match name {
        "psnr" | "ssim" => name.to_uppercase(),
        "macro_f1" => "macro-F1".to_owned(),
        "noisy_psnr" | "noisy_ssim" => name.replace("noisy_", "noisy ").replace("psnr", "PSNR").replace("ssim", "SSIM"),
        name => name.replace('_', " "),
    }
}

/// Whether a metric is a fraction, which people read in percent.
#[must_use]
pub fn is_fraction(name: &str) -> bool {
    matches!(name, "accuracy" | "balanced_accuracy" | "macro_f1")
}

/// The value of a metric: an accuracy or F1 in percent, PSNR in dB, others with four decimals.
#[must_use]
pub fn metric_value(name: &str, value: f64) -> String {
    match name {
        name if is_fraction(name) => percent(value),
        "psnr" | "noisy_psnr" => format!("{value:.2} dB"),
        _ => format!("{value:.4}"),
    }
}

/// The difference of two values of a metric with its sign: of accuracies in percentage points.
#[must_use]
pub fn metric_difference(name: &str, difference: f64) -> String {
    match name {
        name if is_fraction(name) => format!("{:+.2} points", 100.0 * difference),
        "psnr" | "noisy_psnr" => format!("{difference:+.2} dB"),
        _ => format!("{difference:+.4}"),
    }
}

/// Whether a metric is among those for a line of text.
#[must_use]
pub fn is_brief(name: &str, best_by: Measure) -> bool {
    !matches!(name, "balanced_accuracy" | "macro_f1") || name == best_by.name()
}

/// The metrics for a line of text: of a classifier the accuracy, and the measure by which the best epoch is chosen.
#[must_use]
pub fn brief(metrics: &Metrics, best_by: Measure) -> Metrics {
    metrics.iter().filter(|(name, _)| is_brief(name, best_by)).map(|(name, value)| (name.clone(), *value)).collect()
}

/// The title and the value of a measure on the validation split, such as `data loss 0.0712`.
#[must_use]
pub fn measure_in_words(measure: Measure, value: f64) -> String {
    let value = if measure == Measure::DataLoss { loss(value) } else { metric_value(measure.name(), value) };
    format!("{} {value}", metric_title(measure.name()))
}

/// Metrics with their titles, such as `PSNR 28.31 dB`.
#[must_use]
pub fn metrics_listed(metrics: &Metrics) -> Vec<String> {
    metrics.iter().map(|(name, value)| format!("{} {}", metric_title(name), metric_value(name, *value))).collect()
}

/// How the losses of a column are written, so that they can be compared at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losses {
    /// Decimals of each. `None`: all are so small that they have an exponent.
    decimals: Option<u8>,
}

impl Losses {
    /// Four decimals, or as many as give the smallest of `values` three digits, but no more than six.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let sizes = values.into_iter().map(f64::abs).filter(|size| size.is_finite() && *size > 0.0);
        let (smallest, largest) =
            sizes.fold((f64::INFINITY, 0.0), |(smallest, largest), size| (f64::min(smallest, size), f64::max(largest, size)));
        let decimals = match smallest {
            _ if largest > 0.0 && largest < WRITTEN_OUT.start => None,
            0.01.. => Some(4),
            0.001.. => Some(5),
            _ => Some(6),
        };
        Self { decimals }
    }

    /// A loss. One that would be all zeros has an exponent.
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        match self.decimals {
            Some(decimals) if value == 0.0 || !value.is_finite() || value.abs() >= 0.5 * 0.1_f64.powi(i32::from(decimals)) => {
                format!("{value:.0$}", usize::from(decimals))
            }
            _ => short(value),
        }
    }

    /// A difference of losses with its sign.
    #[must_use]
    pub fn signed(self, value: f64) -> String {
        let sign = if value < 0.0 { "" } else { "+" };
        format!("{sign}{}", self.shown(value))
    }
}

/// A loss by itself: four decimals, or three digits if it is small.
#[must_use]
pub fn loss(value: f64) -> String {
    Losses::of([value]).shown(value)
}

/// A fraction as a percentage.
#[must_use]
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

/// Bytes as `12.0 kB`, `3.4 MB` or `5.6 GB`.
#[must_use]
pub fn byte_size(bytes: u64) -> String {
    if bytes < 100 {
        return format!("{bytes} bytes");
    }
    let bytes = bytes as f64;
    let (size, unit) = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB")].into_iter().find(|(size, _)| bytes >= *size).unwrap_or((1e3, "kB"));
    format!("{:.1} {unit}", bytes / size)
}

/// As [`byte_size`], rounded up: what is written is enough for `bytes` bytes.
#[must_use]
pub fn enough_bytes(bytes: u64) -> String {
    let tenth = [1_000_000_000_000, 1_000_000_000, 1_000_000].into_iter().find(|size| bytes >= *size).unwrap_or(1000) / 10;
    byte_size(bytes.div_ceil(tenth).saturating_mul(tenth))
}

/// Seconds as `1 h 02 min`, `3 min 04 s` or `5.6 s`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds, rounded for people")]
    let whole = seconds.round() as u64;
    match whole {
        3600.. => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        60.. => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{seconds:.1} s"),
    }
}

/// The time since something in its largest unit, such as `5 min` or `3 days`.
#[must_use]
pub fn age(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds, rounded for people")]
    let whole = seconds as u64;
    match whole {
        172_800.. => format!("{} days", grouped(whole / 86_400)),
        7200.. => format!("{} h", whole / 3600),
        120.. => format!("{} min", whole / 60),
        _ => format!("{whole} s"),
    }
}

/// A number with four digits, such as λ or a learning rate; more before its point.
#[must_use]
pub fn short(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    // Of the rounded number: 999,999.9 is 1e6.
    let text = format!("{number:.3e}");
    let exponent: i32 = text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(3 - exponent).unwrap_or(0);
        without_zeros(&format!("{number:.decimals$}")).to_owned()
    } else {
        with_exponent(number, 3)
    }
}

/// A number with an exponent and at most so many decimals before it.
#[must_use]
pub fn with_exponent(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$e}");
    text.split_once('e').map_or_else(|| text.clone(), |(factor, exponent)| format!("{}e{exponent}", without_zeros(factor)))
}

/// A number without zeros after its last decimal.
fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

/// A value of a config with every digit of its numbers, and without quotes if it is a word.
#[must_use]
pub fn setting(value: &toml::Value) -> String {
    match value {
        toml::Value::String(word) => word.clone(),
        value => nested(value),
    }
}

fn nested(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(number) => exact(*number),
        toml::Value::Array(values) => format!("[{}]", values.iter().map(nested).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

/// A number with three decimals, such as ‖w‖²; a very small or large one with four digits.
#[must_use]
pub fn magnitude(value: f64) -> String {
    if value == 0.0 || (0.01..WRITTEN_OUT.end).contains(&value.abs()) { format!("{value:.3}") } else { short(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 60_000, 1_234_567].map(grouped), ["0", "999", "1,000", "60,000", "1,234,567"]);
        assert_eq!([5.64, 64.0, 3725.0].map(duration), ["5.6 s", "1 min 04 s", "1 h 02 min"]);
        assert_eq!([119.9, 120.0, 7199.0, 7200.0, 172_799.0, 172_800.0].map(age), ["119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
        assert_eq!(percent(0.98765), "98.77 %");
        assert_eq!([2540, 3_000_000, 1_999_999_999].map(byte_size), ["2.5 kB", "3.0 MB", "2.0 GB"]);
        assert_eq!([2540, 3_000_000, 3_000_001, 1_210_000_000].map(enough_bytes), ["2.6 kB", "3.0 MB", "3.1 MB", "1.3 GB"]);
        assert_eq!([counted(1, "epoch"), counted(1000, "step")], ["1 epoch", "1,000 steps"]);
    }

    #[test]
    fn numbers_have_one_notation() {
        let numbers = [0.0, 5.0, 0.5, 20.0, 0.0001, 1e-5, 1e-8, 2.5e7, 1e20, -1e-7];
        let expected = ["0", "5", "0.5", "20", "0.0001", "1e-5", "1e-8", "2.5e7", "1e20", "-1e-7"];
        assert_eq!(numbers.map(short), expected);
        assert_eq!(numbers.map(|number| setting(&number.into())), expected);
        assert_eq!(
            [7.312_345, 1234.56, 60_000.4, 999_999.9, 0.000_099_999, 2.345_67e-9].map(short),
            ["7.312", "1235", "60000", "1e6", "0.0001", "2.346e-9"]
        );
    }

    #[test]
    fn settings_have_every_digit() {
        assert_eq!(
            [0.300_01, 7.312_345_678, 1.234_567_8e-9].map(|number| setting(&number.into())),
            ["0.30001", "7.312345678", "1.2345678e-9"]
        );
        let words = toml::Value::from(vec!["a", "b"]);
        assert_eq!(
            [setting(&"sgd".into()), setting(&vec![4, 6].into()), setting(&vec![1e-8, 0.5].into()), setting(&words)],
            ["sgd", "[4, 6]", "[1e-8, 0.5]", "[\"a\", \"b\"]"]
        );
    }

    #[test]
    fn losses_of_a_column_have_the_same_decimals() {
        let column = |values: &[f64]| values.iter().map(|value| Losses::of(values.iter().copied()).signed(*value)).collect::<Vec<_>>();
        assert_eq!(column(&[0.0, 0.03, -1.25]), ["+0.0000", "+0.0300", "-1.2500"]);
        assert_eq!(column(&[0.0, 0.03, 0.0051]), ["+0.00000", "+0.03000", "+0.00510"]);
        assert_eq!(column(&[0.03, 0.000_051_2]), ["+0.030000", "+0.000051"]);
        assert_eq!(column(&[0.03, 2e-7]), ["+0.030000", "+2e-7"], "not a row of zeros");
        assert_eq!(column(&[5.12e-5, 2e-7, 0.0]), ["+5.12e-5", "+2e-7", "+0"]);
        assert_eq!([0.0, 2.312_59, 0.005_123, 0.000_512_3, 5.123e-5].map(loss), ["0.0000", "2.3126", "0.00512", "0.000512", "5.123e-5"]);
        assert_eq!([0.0, 12.3456, 1.5e-3, 2.5e7].map(magnitude), ["0.000", "12.346", "0.0015", "2.5e7"]);
    }
}
