//! The files of the folder of a sweep, and what is missing.

use std::path::Path;

use super::curves::loss_unit;
use crate::config::{ConfigTable, Criterion};
use crate::error::Error;
use crate::search::{Ended, FitResult, Plan, Study, SweepFolder};
use crate::session::Summary;

/// What the folder of a sweep has.
pub(super) struct SweepFiles {
    pub(super) plan: Plan,
    /// The results of the trainings that have ended.
    pub(super) results: Vec<FitResult>,
    pub(super) study: Study,
    /// What is missing, and why.
    pub(super) missing: Vec<String>,
    /// Whether the task is to tell classes apart.
    pub(super) is_classifier: bool,
}

impl SweepFiles {
    /// Reads the folder of a sweep. Nothing is written or locked.
    ///
    /// # Errors
    ///
    /// When a file is missing or damaged.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let (folder, plan) = SweepFolder::open_shared(path)?;
        let Ended { results, missing: indexes } = Ended::read(&plan, &folder)?;
        let mut missing = Vec::new();
        let written = folder.study()?.filter(|_| indexes.is_empty());
        let study = written.unwrap_or_else(|| {
            if !indexes.is_empty() {
                missing.push(format!(
                    "{} of {} trainings have not ended: only trials whose trainings have all ended are compared, and the choice can still change.",
                    indexes.len(),
                    plan.fits().len()
                ));
            }
            Study::new(&plan, &complete(&plan, &results))
        });
        if study.refit.is_none() && indexes.is_empty() && study.chosen.is_some() {
            missing.push(
                "The chosen trial has not been trained again on all images but the test split yet; `regulus resume` does.".to_owned(),
            );
        }
        let config = ConfigTable::from_toml(&plan.config)?;
        let is_classifier = config.value("task.kind").and_then(toml::Value::as_str) != Some("denoise");
        Ok(Self { plan, results, study, missing, is_classifier })
    }

    /// What the data loss is, with its unit.
    pub(super) fn loss_unit(&self) -> &'static str {
        loss_unit(self.is_classifier)
    }

    /// The results of a trial that are compared: on a path not those from initial weights.
    pub(super) fn results_of(&self, trial: usize) -> impl Iterator<Item = &FitResult> {
        self.results.iter().filter(move |result| result.fit.trial == trial && !result.fit.is_finalist)
    }

    /// Whether all trainings of a trial have ended.
    pub(super) fn is_complete(&self, trial: usize) -> bool {
        self.results_of(trial).count() == self.plan.fits_of_trial()
    }

    /// The degrees of freedom of the differences.
    pub(super) fn degrees(&self) -> usize {
        self.plan.degrees(&self.results)
    }

    /// Whether all trials have the same splits, so that their differences are paired.
    pub(super) fn is_paired(&self) -> bool {
        !self.plan.sweep.reshuffle
    }

    /// What the differences are over.
    pub(super) fn units(&self) -> String {
        match self.plan.sweep.criterion {
            Criterion::Loo => format!("{} images", self.degrees() + 1),
            _ if self.plan.splits() > 1 => format!("{} splits", self.plan.splits()),
            _ => format!("{} seeds", self.plan.seeds.len()),
        }
    }

    /// The summary of the refit.
    pub(super) fn refit(&self) -> Option<&Summary> {
        self.study.refit.as_ref()
    }
}

/// The results of the trials whose trainings have all ended.
fn complete(plan: &Plan, results: &[FitResult]) -> Vec<FitResult> {
    let count = |one: &FitResult| {
        results.iter().filter(|other| other.fit.trial == one.fit.trial && other.fit.is_finalist == one.fit.is_finalist).count()
    };
    results.iter().filter(|result| count(result) == plan.fits_of_trial()).cloned().collect()
}
