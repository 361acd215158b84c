//! The scale of an axis: where values are, and its ticks.

use crate::numbers::{short, with_exponent};

/// How values are placed along an axis, from 0 at its begin to 1 at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    spacing: Spacing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Spacing {
    Linear {
        step: f64,
    },
    Log,
    /// 0 is at the begin, beside the logarithms of the others.
    LogWithZero,
}

/// The part of a logarithmic axis between 0 and the smallest positive value.
const GAP: f64 = 0.1;
/// The number of ticks that an axis has about.
const TICKS: f64 = 5.0;

/// A tick and its label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Scale {
    /// A linear scale over all finite values, from a round number to a round number. From 0 if that is near. Without values from 0 to 1.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = range(values.into_iter().filter(|value| value.is_finite())).unwrap_or((0.0, 1.0));
        if low >= 0.0 && low < 0.4 * high {
            low = 0.0;
        }
        // A constant is in the middle of a scale from 0.
        if high <= low {
            (low, high) = match high {
                0.0 => (0.0, 1.0),
                value => (f64::min(2.0 * value, 0.0), f64::max(2.0 * value, 0.0)),
            };
        }
        let step = round_step((high - low) / TICKS);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, spacing: Spacing::Linear { step } }
    }

    /// A scale of counts, such as epochs, that ends at the values.
    pub(super) fn whole(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values.into_iter().filter(|value| value.is_finite())).unwrap_or((0.0, 1.0));
        let (low, high) = if high > low { (low, high) } else { (f64::max(low - 1.0, 0.0), high + 1.0) };
        Self { low, high, spacing: Spacing::Linear { step: round_step((high - low) / TICKS).max(1.0) } }
    }

    /// A linear scale from `low` to `high`.
    pub(super) fn between(low: f64, high: f64) -> Self {
        Self { low, high, spacing: Spacing::Linear { step: round_step((high - low) / TICKS) } }
    }

    /// A logarithmic scale over all positive values, with a place of its own for 0. Without positive values a linear one.
    pub(super) fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite() && *value >= 0.0).collect();
        let Some((low, high)) = range(values.iter().copied().filter(|value| *value > 0.0)) else { return Self::linear(values) };
        let (low, high) = if high > 1.01 * low { (low, high) } else { (low / 2.0, high * 2.0) };
        let spacing = if values.contains(&0.0) { Spacing::LogWithZero } else { Spacing::Log };
        Self { low, high, spacing }
    }

    /// A logarithmic scale if the values are positive and differ by more than a factor of 20, else a linear one.
    pub(super) fn fitting(values: &[f64]) -> Self {
        match range(values.iter().copied().filter(|value| value.is_finite())) {
            Some((low, high)) if low > 0.0 && high > 20.0 * low => Self::log(values.iter().copied()),
            _ => Self::linear(values.iter().copied()),
        }
    }

    /// Whether it is logarithmic.
    pub(super) fn is_log(&self) -> bool {
        !matches!(self.spacing, Spacing::Linear { .. })
    }

    /// Where a value is; values outside are at an end. `None` for one that has no place: not finite, or negative on a logarithmic scale.
    pub(super) fn share(&self, value: f64) -> Option<f64> {
        let share = match self.spacing {
            Spacing::Linear { .. } => (value - self.low) / (self.high - self.low),
            Spacing::Log | Spacing::LogWithZero if value < 0.0 => return None,
            Spacing::LogWithZero if value == 0.0 => 0.0,
            Spacing::LogWithZero => GAP + (1.0 - GAP) * self.log_share(value),
            Spacing::Log => self.log_share(value),
        };
        // The logarithm of 0 is at the begin.
        (!share.is_nan()).then(|| share.clamp(0.0, 1.0))
    }

    fn log_share(&self, value: f64) -> f64 {
        (value / self.low).ln() / (self.high / self.low).ln()
    }

    /// Its ticks, from low to high.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        match self.spacing {
            Spacing::Linear { step } => self.linear_ticks(step),
            Spacing::Log => self.log_ticks(),
            Spacing::LogWithZero => std::iter::once(Tick { value: 0.0, label: "0".to_owned() }).chain(self.log_ticks()).collect(),
        }
    }

    fn linear_ticks(&self, step: f64) -> Vec<Tick> {
        let largest = self.low.abs().max(self.high.abs());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the digits of a step")]
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let label = |value: f64| match value {
            0.0 => format!("{value:.*}", if (1e-3..1e6).contains(&largest) { decimals } else { 0 }),
            _ if (1e-3..1e6).contains(&largest) => format!("{value:.decimals$}"),
            // As many digits as tell one tick from the next.
            _ => with_exponent(value, digits_before(value, step)),
        };
        let first = (self.low / step - 1e-9).ceil();
        let values = (0_u32..100).map(|at| (first + f64::from(at)) * step).take_while(|value| *value <= self.high + 1e-9 * step);
        // −0 is 0.
        values.map(|value| Tick { value, label: label(if value.abs() < 1e-9 * step { 0.0 } else { value }) }).collect()
    }

    fn log_ticks(&self) -> Vec<Tick> {
        #[expect(clippy::cast_possible_truncation, reason = "exponents of numbers")]
        let [first, last] = [self.low.log10().floor() as i32, self.high.log10().ceil() as i32];
        let factors: &[f64] = match self.high / self.low {
            ratio if ratio < 10.0 => &[1.0, 2.0, 3.0, 5.0, 7.0],
            ratio if ratio < 200.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = ((last - first) / 7 + 1).max(1);
        let powers = (first..=last).filter(|exponent| exponent.rem_euclid(every) == 0);
        let values = powers.flat_map(|exponent| factors.iter().map(move |factor| factor * 10_f64.powi(exponent)));
        let inside: Vec<f64> = values.filter(|value| *value >= self.low * 0.999 && *value <= self.high * 1.001).collect();
        if inside.len() < 2 && self.high < 10.0 * self.low {
            // Between two of them there are equal steps.
            let ticks = Self::between(self.low, self.high).ticks();
            return ticks.into_iter().filter(|tick| tick.value <= self.high * 1.001).collect();
        }
        inside.into_iter().map(|value| Tick { value, label: short(value) }).collect()
    }
}

/// The decimals of a number with an exponent, such that its last digit is that of the step.
fn digits_before(value: f64, step: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the digits of a tick")]
    let digits = ((value.abs() * (1.0 + 1e-9)).log10().floor() - step.log10().floor()).clamp(0.0, 6.0) as usize;
    digits
}

/// The smallest and the largest value.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |found, value| {
        let (low, high) = found.unwrap_or((value, value));
        Some((f64::min(low, value), f64::max(high, value)))
    })
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|round| *round >= step * 0.999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(Scale::linear([0.13, 0.92])), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Scale::linear([96.2, 98.7])), ["96.0", "96.5", "97.0", "97.5", "98.0", "98.5", "99.0"]);
        assert_eq!(labels(Scale::linear([0.5])), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Scale::whole([1.0, 3.0])), ["1", "2", "3"]);
        assert_eq!(labels(Scale::whole([1.0])), ["0", "1", "2"]);
        assert_eq!(labels(Scale::whole([0.0])), ["0", "1"], "no epoch is below 0");
        assert_eq!(labels(Scale::linear([0.0, 3e-4])), ["0", "1e-4", "2e-4", "3e-4"]);
        assert_eq!(labels(Scale::linear([1.02e6, 1.23e6])), ["1e6", "1.05e6", "1.1e6", "1.15e6", "1.2e6", "1.25e6"]);
        assert_eq!(labels(Scale::log([0.01, 100.0, 0.0])), ["0", "0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(Scale::log([2e-6, 3e-6])), ["2e-6", "3e-6"]);
        assert_eq!(labels(Scale::log([11.0, 18.0])), ["12", "14", "16", "18"]);
        assert_eq!(labels(Scale::log([0.0, 1.1, 1.8])), ["0", "1.2", "1.4", "1.6", "1.8"]);
        assert_eq!(labels(Scale::linear([])), labels(Scale::between(0.0, 1.0)));
    }

    #[test]
    fn values_have_their_place() {
        assert_eq!([-5.0, 0.0, 2.5, 20.0].map(|value| Scale::between(0.0, 10.0).share(value)), [0.0, 0.0, 0.25, 1.0].map(Some));
        let log = Scale::log([0.01, 1.0]);
        assert!((log.share(0.1).unwrap() - 0.5).abs() < 1e-12 && log.share(-1.0).is_none() && log.share(f64::NAN).is_none());
        let with_zero = Scale::log([0.0, 0.01, 1.0]);
        assert_eq!(with_zero.share(0.0), Some(0.0));
        assert!((with_zero.share(0.01).unwrap() - GAP).abs() < 1e-12 && (with_zero.share(1.0).unwrap() - 1.0).abs() < 1e-12);
        assert!(Scale::fitting(&[0.1, 3.0]).is_log() && !Scale::fitting(&[0.1, 1.0]).is_log() && !Scale::fitting(&[0.0, 3.0]).is_log());
    }
}
