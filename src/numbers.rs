//! Numbers as people read them.

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
        "noisy_psnr" | "noisy_ssim" => name.replace("noisy_", "noisy ").replace("psnr", "PSNR").replace("ssim", "SSIM"),
        name => name.replace('_', " "),
    }
}

/// The value of a metric: an accuracy in percent, PSNR in dB, others with four decimals.
#[must_use]
pub fn metric_value(name: &str, value: f64) -> String {
    match name {
        "accuracy" => percent(value),
        "psnr" | "noisy_psnr" => format!("{value:.2} dB"),
        _ => format!("{value:.4}"),
    }
}

/// The difference of two values of a metric with its sign: of accuracies in percentage points.
#[must_use]
pub fn metric_difference(name: &str, difference: f64) -> String {
    match name {
        "accuracy" => format!("{:+.2} points", 100.0 * difference),
        "psnr" | "noisy_psnr" => format!("{difference:+.2} dB"),
        _ => format!("{difference:+.4}"),
    }
}

/// Metrics with their titles, such as `PSNR 28.31 dB`.
#[must_use]
pub fn metrics_listed(metrics: &Metrics) -> Vec<String> {
    metrics.iter().map(|(name, value)| format!("{} {}", metric_title(name), metric_value(name, *value))).collect()
}

/// A loss with four decimals, or with four digits if it is small.
#[must_use]
pub fn loss(value: f64) -> String {
    if value == 0.0 || value.abs() >= 0.01 { format!("{value:.4}") } else { format!("{value:.3e}") }
}

/// A fraction as a percentage.
#[must_use]
pub fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
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

/// A λ with few digits.
#[must_use]
pub fn short(lambda: f64) -> String {
    if lambda == 0.0 || (1e-3..1e6).contains(&lambda.abs()) {
        let digits = format!("{lambda:.4}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{lambda:.3e}")
    }
}

/// A difference with its sign.
#[must_use]
pub fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "" } else { "+" };
    format!("{sign}{}", loss(value))
}

/// A number with three decimals, or four digits if it is large.
#[must_use]
pub fn magnitude(value: f64) -> String {
    if value < 1e6 { format!("{value:.3}") } else { format!("{value:.3e}") }
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
        assert_eq!([counted(1, "epoch"), counted(1000, "step")], ["1 epoch", "1,000 steps"]);
    }

    #[test]
    fn lambdas_have_few_digits() {
        let lambdas = [0.0, 5.0, 0.5, 20.0, 7.312_345, 0.001, 1e-5, 2.5e7];
        assert_eq!(lambdas.map(short), ["0", "5", "0.5", "20", "7.3123", "0.001", "1.000e-5", "2.500e7"]);
    }
}
