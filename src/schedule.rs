//! The value of a schedule at each step, for the learning rate and for λ: Burn's schedulers, and the one-cycle schedule, as factors of a base value.

use std::fmt;

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::step::StepLrSchedulerConfig;

use crate::config::{Anneal, Decay, Schedule, Train};

/// The length of a training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength {
    /// Training samples.
    pub samples: usize,
    /// Steps per epoch.
    pub steps_per_epoch: u64,
    /// Steps in all.
    pub steps: u64,
}

impl RunLength {
    /// The length of a run with the options `train` on `samples` training samples.
    #[must_use]
    pub fn new(train: &Train, samples: usize) -> Self {
        Self { samples, steps_per_epoch: train.steps_per_epoch(samples), steps: train.steps(samples) }
    }
}

/// A base value with a schedule over a run.
#[derive(Clone)]
pub(crate) struct ScheduledValue {
    base: f64,
    schedule: Schedule,
    length: RunLength,
    factors: Factors,
}

/// Burn's schedulers give one factor after the other. The value of a step is found by passing through all steps before it.
#[derive(Clone)]
struct Factors {
    warmup: Option<ModuleLrScheduler>,
    decay: Option<ModuleLrScheduler>,
    cycle: Option<OneCycle>,
    /// The next step, from 0.
    step: u64,
}

impl ScheduledValue {
    /// The values of `base` with `schedule` over a run of this length.
    pub(crate) fn new(base: f64, schedule: &Schedule, length: RunLength) -> Self {
        Self { base, schedule: schedule.clone(), length, factors: Factors::new(schedule, length) }
    }

    /// The value at `step`, from 0. The plateau schedule is constant here.
    pub(crate) fn at(&mut self, step: u64) -> f64 {
        if step < self.factors.step {
            self.factors = Factors::new(&self.schedule, self.length);
        }
        while self.factors.step < step {
            self.factors.next(self.base);
        }
        self.factors.next(self.base)
    }

    /// The value before the schedule.
    pub(crate) fn base(&self) -> f64 {
        self.base
    }

    /// The schedule.
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

/// Values with the same definition are equal, whatever step they are at.
impl PartialEq for ScheduledValue {
    fn eq(&self, other: &Self) -> bool {
        (self.base.to_bits(), &self.schedule, self.length) == (other.base.to_bits(), &other.schedule, other.length)
    }
}

impl fmt::Debug for ScheduledValue {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { base, schedule, length, factors: Factors { step, .. } } = self;
        write!(formatter, "ScheduledValue {{ base: {base}, schedule: {schedule:?}, length: {length:?}, next step: {step} }}")
    }
}

impl Factors {
    fn new(schedule: &Schedule, length: RunLength) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        let last = count(length.steps.saturating_sub(1));
        let checked = |scheduler: Result<ModuleLrScheduler, String>| {
            scheduler.unwrap_or_else(|error| unreachable!("factors between 0 and 1 over at least 1 step: {error}"))
        };
        let warmup = (schedule.warmup_steps > 0).then(|| {
            let first = 1.0 / (schedule.warmup_steps as f64 + 1.0);
            checked(LinearLrSchedulerConfig::new(first, 1.0, count(schedule.warmup_steps)).init())
        });
        let decay = match schedule.decay {
            Decay::Constant | Decay::Plateau { .. } | Decay::OneCycle { .. } => None,
            Decay::Step { every_epochs, factor } => {
                let steps = every_epochs.get().saturating_mul(count(length.steps_per_epoch));
                Some(checked(StepLrSchedulerConfig::new(1.0, steps).with_gamma(factor.get()).init()))
            }
            Decay::Cosine { final_fraction } => {
                Some(checked(CosineAnnealingLrSchedulerConfig::new(1.0, last).with_min_lr(final_fraction.get()).init()))
            }
            Decay::Linear { final_fraction } => Some(checked(LinearLrSchedulerConfig::new(1.0, final_fraction.get(), last).init())),
        };
        Self { warmup, decay, cycle: OneCycle::new(schedule.decay, length.steps), step: 0 }
    }

    fn next(&mut self, base: f64) -> f64 {
        let factor = |scheduler: &mut Option<ModuleLrScheduler>| scheduler.as_mut().map_or(1.0, |scheduler| scheduler.step().base());
        let cycle = self.cycle.map_or(1.0, |cycle| cycle.factor(self.step));
        self.step += 1;
        base * factor(&mut self.warmup) * factor(&mut self.decay) * cycle
    }
}

/// The factors of a one-cycle schedule, with the phases of PyTorch's `OneCycleLR`: the factor is 1 at step `peak`, which need not be whole.
#[derive(Clone, Copy)]
struct OneCycle {
    initial: f64,
    last: f64,
    anneal: Anneal,
    /// The share of the steps in which it rises, times their number, minus 1.
    peak: f64,
    /// The last step.
    end: f64,
}

impl OneCycle {
    fn new(decay: Decay, steps: u64) -> Option<Self> {
        let Decay::OneCycle { warmup_fraction, initial_fraction, final_fraction, anneal } = decay else { return None };
        let peak = warmup_fraction.get() * steps as f64 - 1.0;
        Some(Self { initial: initial_fraction.get(), last: final_fraction.get(), anneal, peak, end: steps as f64 - 1.0 })
    }

    fn factor(self, step: u64) -> f64 {
        let step = step as f64;
        let (from, to, share) = if self.peak > 0.0 && step <= self.peak {
            (self.initial, 1.0, step / self.peak)
        } else if self.end > 0.0 {
            (1.0, self.last, (step - self.peak) / (self.end - self.peak))
        } else {
            // The only step has the full rate, as in the other schedules.
            return 1.0;
        };
        let share = match self.anneal {
            Anneal::Cosine => (1.0 - (std::f64::consts::PI * share).cos()) / 2.0,
            Anneal::Linear => share,
        };
        from + (to - from) * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::number::{Count, Fraction};

    fn value(warmup_steps: u64, decay: Decay) -> ScheduledValue {
        ScheduledValue::new(2.0, &Schedule { warmup_steps, decay }, RunLength { samples: 2, steps_per_epoch: 2, steps: 8 })
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn values_by_hand() {
        let fraction = |value| Fraction::try_from(value).unwrap();
        let values = |warmup_steps, decay| {
            let mut value = value(warmup_steps, decay);
            (0..8).map(|step| value.at(step)).collect::<Vec<f64>>()
        };
        close(&values(3, Decay::Constant), &[0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]);
        let step = Decay::Step { every_epochs: Count::try_from(1).unwrap(), factor: fraction(0.5) };
        close(&values(0, step), &[2.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
        let linear = Decay::Linear { final_fraction: fraction(0.3) };
        close(&values(0, linear), &[2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.8, 0.6]);
        let cosine: Vec<f64> = (0..8).map(|step| 1.0 + (f64::from(step) / 7.0 * std::f64::consts::PI).cos()).collect();
        close(&values(0, Decay::Cosine { final_fraction: fraction(0.0) }), &cosine);
    }

    #[test]
    fn the_rates_of_one_cycle_are_pytorchs() {
        // Made by `tests/fixtures/schedules.py`.
        let cases: serde_json::Value = serde_json::from_str(include_str!("../tests/fixtures/schedules.json")).unwrap();
        let cases = cases["one_cycle"].as_array().unwrap();
        assert_eq!(cases.len(), 10);
        for case in cases {
            let fraction = |key: &str| Fraction::try_from(case[key].as_f64().unwrap()).unwrap();
            let decay = Decay::OneCycle {
                warmup_fraction: fraction("warmup_fraction"),
                initial_fraction: fraction("initial_fraction"),
                final_fraction: fraction("final_fraction"),
                anneal: serde_json::from_value(case["anneal"].clone()).unwrap(),
            };
            let steps = case["steps"].as_u64().unwrap();
            let length = RunLength { samples: 2, steps_per_epoch: 2, steps };
            let mut value = ScheduledValue::new(2.0, &Schedule { warmup_steps: 0, decay }, length);
            let expected: Vec<f64> = serde_json::from_value(case["rates"].clone()).unwrap();
            close(&(0..steps).map(|step| value.at(step)).collect::<Vec<f64>>(), &expected);
        }
    }

    #[test]
    fn the_only_step_of_one_cycle_has_the_full_rate() {
        let none = Fraction::try_from(0.0).unwrap();
        let decay = Decay::OneCycle { warmup_fraction: none, initial_fraction: none, final_fraction: none, anneal: Anneal::Cosine };
        let length = RunLength { samples: 2, steps_per_epoch: 1, steps: 1 };
        close(&[ScheduledValue::new(2.0, &Schedule { warmup_steps: 0, decay }, length).at(0)], &[2.0]);
    }

    #[test]
    fn a_value_is_the_same_number_whatever_step_was_asked_for_before() {
        let decay = Decay::Cosine { final_fraction: Fraction::try_from(0.1).unwrap() };
        let mut in_order = value(3, decay);
        let expected: Vec<u64> = (0..8).map(|step| in_order.at(step).to_bits()).collect();
        let mut jumping = value(3, decay);
        for step in [5, 2, 2, 7, 0, 6] {
            assert_eq!(jumping.at(step).to_bits(), expected[usize::try_from(step).unwrap()], "step {step}");
        }
    }
}
