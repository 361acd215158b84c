//! Schedules of the learning rate and of λ: Burn's schedulers as factors of a base value.

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::step::StepLrSchedulerConfig;

use crate::config::{Decay, Schedule};

/// The values of a schedule, step by step.
pub(super) struct Rate {
    base: f64,
    warmup: Option<ModuleLrScheduler>,
    decay: Option<ModuleLrScheduler>,
}

impl Rate {
    /// A schedule over `steps` steps, `per_epoch` of them in each epoch, from step `done` on.
    pub(super) fn new(base: f64, schedule: &Schedule, steps: u64, per_epoch: u64, done: u64) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
        let last = count(steps.saturating_sub(1));
        let checked = |scheduler: Result<ModuleLrScheduler, String>| {
            scheduler.unwrap_or_else(|error| unreachable!("factors between 0 and 1 over at least 1 step: {error}"))
        };
        let warmup = (schedule.warmup_steps > 0).then(|| {
            let first = 1.0 / (schedule.warmup_steps as f64 + 1.0);
            checked(LinearLrSchedulerConfig::new(first, 1.0, count(schedule.warmup_steps)).init())
        });
        let decay = match schedule.decay {
            Decay::Constant | Decay::Plateau { .. } => None,
            Decay::Step { every_epochs, factor } => {
                let steps = every_epochs.get().saturating_mul(count(per_epoch));
                Some(checked(StepLrSchedulerConfig::new(1.0, steps).with_gamma(factor.get()).init()))
            }
            Decay::Cosine { final_fraction } => {
                Some(checked(CosineAnnealingLrSchedulerConfig::new(1.0, last).with_min_lr(final_fraction.get()).init()))
            }
            Decay::Linear { final_fraction } => Some(checked(LinearLrSchedulerConfig::new(1.0, final_fraction.get(), last).init())),
        };
        let mut rate = Self { base, warmup, decay };
        for _ in 0..done {
            rate.next(1.0);
        }
        rate
    }

    /// The rate of the next step, multiplied by the factor of the plateau schedule.
    pub(super) fn next(&mut self, plateau_factor: f64) -> f64 {
        let factor = |scheduler: &mut Option<ModuleLrScheduler>| scheduler.as_mut().map_or(1.0, |scheduler| scheduler.step().base());
        self.base * factor(&mut self.warmup) * factor(&mut self.decay) * plateau_factor
    }
}

/// The rate of the step after `done` of `steps` steps.
pub(crate) fn rate_at(base: f64, schedule: &Schedule, steps: u64, per_epoch: u64, done: u64) -> f64 {
    Rate::new(base, schedule, steps, per_epoch, done).next(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::number::{Count, Fraction};

    fn rates(warmup_steps: u64, decay: Decay, done: u64) -> Vec<f64> {
        let mut rate = Rate::new(2.0, &Schedule { warmup_steps, decay }, 8, 2, done);
        (done..8).map(|_| rate.next(1.0)).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn rates_by_hand() {
        let fraction = |value| Fraction::try_from(value).unwrap();
        close(&rates(3, Decay::Constant, 0), &[0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]);
        let step = Decay::Step { every_epochs: Count::try_from(1).unwrap(), factor: fraction(0.5) };
        close(&rates(0, step, 0), &[2.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
        let linear = Decay::Linear { final_fraction: fraction(0.3) };
        close(&rates(0, linear, 0), &[2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.8, 0.6]);
        let cosine: Vec<f64> = (0..8).map(|step| 1.0 + (f64::from(step) / 7.0 * std::f64::consts::PI).cos()).collect();
        close(&rates(0, Decay::Cosine { final_fraction: fraction(0.0) }, 0), &cosine);
        close(&rates(0, Decay::Cosine { final_fraction: fraction(0.0) }, 5), &cosine[5..]);
    }
}
