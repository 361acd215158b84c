//! The report of a sweep.

use std::path::Path;

use maud::{Markup, html};

use super::page::{details, figures, number, page, section, text, tile, warning};
use super::sweep_files::SweepFiles;
use super::{measures, parallel, sweep_figures};
use crate::config::Measure;
use crate::error::Error;
use crate::numbers::{Losses, counted, duration, grouped, is_brief, loss, magnitude, metric_title, metric_value, percent, setting, short};
use crate::search::{TrialSummary, criterion_title, digits, mark, settings, why};

/// The page of the sweep in `path`.
///
/// # Errors
///
/// When a file of it is damaged.
pub(super) fn sweep_page(path: &Path) -> Result<Markup, Error> {
    let sweep = SweepFiles::read(path)?;
    let (plan, study) = (&sweep.plan, &sweep.study);
    let all = sweep_figures::figures(&sweep);
    let content = html! {
        (overview(&sweep))
        (section("Choice", &html! { (figures(&all)) @if let Some(figure) = parallel::parallel(&sweep) { (figure) } }))
        (section("Trials", &trials(&sweep)))
        @if !study.path.is_empty() { (section("Path", &path_check(&sweep))) }
        (section("The chosen trial, trained again", &refit(&sweep)))
        (section("Config", &details("The config that the trials change", &html! { pre { (plan.config) } })))
    };
    let folder = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let title = if folder == plan.name { plan.name.clone() } else { format!("{} / {folder}", plan.name) };
    Ok(page(&title, &format!("Sweep of Regulus {}", plan.version), &content))
}

fn overview(sweep: &SweepFiles) -> Markup {
    let (plan, study) = (&sweep.plan, &sweep.study);
    let chosen = study.trials.iter().find(|trial| Some(trial.trial) == study.chosen);
    html! {
        ul class="tiles" {
            @if let Some(trial) = chosen {
                @for (key, value) in &plan.trials[trial.trial] { (tile(&format!("chosen {key}"), &text(shown(value)))) }
                @if let Some(found) = trial.comparison {
                    (tile(criterion_title(study.criterion), &number("chosen.mean", found.mean, &loss(found.mean))))
                }
            } @else { (tile("chosen", &text("none"))) }
            @if let Some(test) = sweep.refit().and_then(|summary| summary.test.as_ref()) {
                @for (metric, value) in &test.metrics { (tile(&format!("{} (test)", metric_title(metric)), &number(&format!("refit.test.{metric}"), *value, &metric_value(metric, *value)))) }
            }
        }
        @if let Some(chosen) = study.chosen { p { "Chosen: " b { (settings(&plan.trials[chosen])) } " (" (why(plan, study, chosen)) ")." } }
        p class="note" { (trainings(sweep)) ": " (number("seconds", study.seconds, &duration(study.seconds))) " of training in all." }
        @for missing in &sweep.missing { (warning(missing)) }
        @for found in study.warnings.iter().chain(sweep.refit().iter().flat_map(|summary| &summary.warnings)) { (warning(found)) }
    }
}

/// What the trainings of a trial are.
fn trainings(sweep: &SweepFiles) -> String {
    let plan = &sweep.plan;
    let mut factors = vec![counted(plan.trials.len() as u64, "trial"), counted(plan.seeds.len() as u64, "seed")];
    factors.extend(plan.folds().map(|folds| format!("{folds} folds")));
    factors.extend((plan.sweep.repeats.get() > 1).then(|| format!("{} repeats", plan.sweep.repeats.get())));
    format!("{} = {}", factors.join(" × "), counted((plan.trials.len() * plan.fits_of_trial()) as u64, "training"))
}

/// A setting with few digits.
fn shown(value: &toml::Value) -> String {
    value.as_float().map_or_else(|| setting(value), short)
}

fn trials(sweep: &SweepFiles) -> Markup {
    let (plan, study) = (&sweep.plan, &sweep.study);
    let measured = study.trials.iter().find(|trial| !trial.validation.is_empty());
    // More columns would not fit on paper.
    let metrics: Vec<&String> =
        measured.iter().flat_map(|trial| trial.validation.keys()).filter(|name| is_brief(name, Measure::DataLoss)).collect();
    let has = |value: &dyn Fn(&TrialSummary) -> bool| study.trials.iter().any(value);
    let (has_errors, has_zeros, has_gamma) = (
        has(&|trial| trial.comparison.is_some_and(|found| found.standard_error.is_some())),
        has(&|trial| trial.zero_weights.is_some_and(|zeros| zeros > 0.0)),
        has(&|trial| trial.gamma.is_some()),
    );
    let cell = |trial: &TrialSummary, name: &str, value: Option<f64>, shown: &dyn Fn(f64) -> String| {
        value.map_or_else(|| text("–"), |value| number(&format!("trials.{}.{name}", trial.trial), value, &shown(value)))
    };
    let [means, differences] = digits(study);
    let caption = if sweep.is_paired() {
        "Differences and standard errors are paired with the trial of the lowest mean"
    } else {
        "Differences are to the trial of the lowest mean; each trial has splits of its own, so that standard errors are those of unpaired trials"
    };
    html! {
        p class="caption" { (caption) }
        div class="scroll" tabindex="0" role="region" aria-label="Trials" {
            table {
                thead { tr {
                    th scope="col" { "trial" }
                    @for dimension in &plan.space { th scope="col" { (dimension.key) } }
                    th scope="col" { (criterion_title(study.criterion)) }
                    th scope="col" { "difference" }
                    @if has_errors { th scope="col" { "± standard error" } }
                    @for name in &metrics { th scope="col" { (metric_title(name)) } }
                    th scope="col" { "‖w‖²" }
                    @if has_zeros { th scope="col" { "weights 0" } }
                    @if has_gamma { th scope="col" { "γ" } }
                    th scope="col" { "epochs" }
                    th scope="col" { "state" }
                } }
                tbody { @for trial in &study.trials {
                    tr class=[(Some(trial.trial) == study.chosen).then_some("chosen")] {
                        td { (trial.trial) }
                        @for dimension in &plan.space { td { (plan.setting(trial.trial, &dimension.key).map_or_else(|| "–".to_owned(), shown)) } }
                        td { (cell(trial, "mean", trial.comparison.map(|found| found.mean), &|value| means.shown(value))) }
                        td { (cell(trial, "difference", trial.comparison.map(|found| found.difference), &|value| differences.signed(value))) }
                        @if has_errors { td { (cell(trial, "standard_error", trial.comparison.and_then(|found| found.standard_error), &|value| differences.shown(value))) } }
                        @for name in &metrics { td { (cell(trial, &format!("validation.{name}"), trial.validation.get(*name).copied(), &|value| metric_value(name, value))) } }
                        td { (cell(trial, "weight_norm_squared", trial.weight_norm_squared, &magnitude)) }
                        @if has_zeros { td { (cell(trial, "zero_weights", trial.zero_weights, &percent)) } }
                        @if has_gamma { td { (cell(trial, "gamma", trial.gamma, &magnitude)) } }
                        td { (trial.epochs) }
                        td { (if sweep.is_complete(trial.trial) { mark(trial, study) } else { "not finished".to_owned() }) }
                    }
                } }
            }
        }
        @if has(&|trial| trial.message.is_some()) {
            ul class="messages" {
                @for trial in &study.trials { @if let Some(message) = &trial.message { li { "Trial " (trial.trial) ": " (message) } } }
            }
        }
    }
}

/// The finalists of a path.
fn path_check(sweep: &SweepFiles) -> Markup {
    let header = ["trial", "on the path", "from initial weights", "± standard error"].map(str::to_owned);
    let digits = Losses::of(sweep.study.path.iter().flat_map(|check| [check.on_path, check.from_start]));
    let rows = sweep.study.path.iter().map(|check| {
        let key = |name: &str| format!("path.{}.{name}", check.trial);
        let error = check.standard_error.map_or_else(|| text("–"), |error| number(&key("standard_error"), error, &digits.shown(error)));
        let (path, start) = (
            number(&key("on_path"), check.on_path, &digits.shown(check.on_path)),
            number(&key("from_start"), check.from_start, &digits.shown(check.from_start)),
        );
        vec![text(settings(&sweep.plan.trials[check.trial])), path, start, error]
    });
    super::page::table("Trials that were trained again from initial weights", 1, &header, rows)
}

fn refit(sweep: &SweepFiles) -> Markup {
    let Some(summary) = sweep.refit() else { return html! {} };
    html! {
        p { "On all images but the test split, which was measured once, for this network. The folder " code { "refit" } " is its run folder, with a report of its own." }
        ul class="tiles" {
            @if let Some(norm) = summary.weight_norm_squared { (tile("‖w‖²", &number("refit.weight_norm_squared", norm, &magnitude(norm)))) }
            @if let Some(penalty) = summary.penalty { (tile("penalty", &number("refit.penalty", penalty, &loss(penalty)))) }
            (tile("epochs", &text(grouped(summary.epochs))))
        }
        (measures::checkpoints(summary))
    }
}
