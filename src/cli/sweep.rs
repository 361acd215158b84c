//! `regulus sweep`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::args::{ResumeArgs, SweepArgs, TableFormatArg};
use super::bar::Work;
use super::print;
use super::progress::ProgressReporter;
use super::report::{open_in_browser, write_at_end};
use super::report_args::FileArgs;
use super::search_args::{CriterionArg, PrunerArg, RuleArg, SearchArgs};
use super::study::{about_errors, comparison, criterion_title, settings, why};
use super::sweep_args::SweepCommandArgs;
use super::sweep_cluster;
use super::table::{brief, counted, duration, grouped, loss, metrics_listed, percent};
use super::train::stop_on_signals;
use crate::config::number::Count;
use crate::config::{ConfigTable, Criterion, Measure, Pruner, Rule, Sweep};
use crate::error::Error;
use crate::search::{Fit, FitResult, FitState, Jobs, Plan, Progress, Search, Study, UNRELIABLE};

/// How results are printed.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) format: TableFormatArg,
    pub(super) json: bool,
    pub(super) files: FileArgs,
}

/// The command or one of its subcommands.
pub(super) fn sweep_or(args: &SweepCommandArgs) -> Result<(), Error> {
    args.command.as_ref().map_or_else(|| sweep(&args.sweep), sweep_cluster::run)
}

fn sweep(args: &SweepArgs) -> Result<(), Error> {
    let config = args.table()?;
    let sweep = args.search.applied_to(config.sweep()?);
    let work = Work::begin("reading images");
    let search = Search::begin(&config, &sweep, args.sweep_dir.as_deref(), &|done, total| work.reach(done, total))?;
    drop(work);
    run(search, args.jobs, Output { format: args.format, json: args.json, files: args.files })
}

/// Goes on with a sweep.
pub(super) fn resume(args: &ResumeArgs) -> Result<(), Error> {
    let output = Output { format: args.format.unwrap_or_default(), json: args.json, files: args.files };
    go_on(&args.run, args.data_dir.clone(), args.jobs, output)
}

/// Trains what has not ended of the sweep in `path`, and compares.
pub(super) fn go_on(path: &Path, data_dir: Option<PathBuf>, jobs: Option<u32>, output: Output) -> Result<(), Error> {
    let work = Work::begin("reading images");
    let search = Search::open(path, data_dir, &|done, total| work.reach(done, total))?;
    drop(work);
    run(search, jobs, output)
}

impl SweepArgs {
    /// The config.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub(super) fn table(&self) -> Result<ConfigTable, Error> {
        let missing = || Error::Usage("`regulus sweep` needs a config, or one of its commands; see `regulus sweep --help`".to_owned());
        Ok(ConfigTable::load(self.config.as_ref().ok_or_else(missing)?, &self.unset, &self.set)?)
    }
}

impl SearchArgs {
    /// The section `[sweep]` with these options.
    pub(super) fn applied_to(&self, mut sweep: Sweep) -> Sweep {
        let count = |number: u64| Count::try_from(number).unwrap_or_else(|problem| unreachable!("clap has checked it: it {problem}"));
        if !self.grid.is_empty() {
            sweep.grid.clone_from(&self.grid);
        }
        if self.random.is_some() || self.tpe.is_some() {
            (sweep.random, sweep.tpe) = (self.random.map(count), self.tpe.map(count));
        }
        sweep.folds = self.folds.map(count).or(sweep.folds);
        sweep.seeds = self.seeds.map_or(sweep.seeds, count);
        sweep.repeats = self.repeats.map_or(sweep.repeats, count);
        sweep.reshuffle |= self.reshuffle;
        sweep.path |= self.path;
        sweep.curvature |= self.curvature;
        match self.criterion {
            None => {}
            Some(CriterionArg::ValidationLoss) => sweep.criterion = Criterion::ValidationLoss,
            Some(CriterionArg::Loo) => sweep.criterion = Criterion::Loo,
            Some(CriterionArg::Evidence) => sweep.criterion = Criterion::Evidence,
        }
        match self.rule {
            None => {}
            Some(RuleArg::Minimum) => sweep.rule = Rule::Minimum,
            Some(RuleArg::OneStandardError) => sweep.rule = Rule::OneStandardError,
        }
        match self.pruner {
            None => {}
            Some(PrunerArg::None) => sweep.pruner = Pruner::None,
            Some(PrunerArg::Halving) => sweep.pruner = Pruner::Halving,
            Some(PrunerArg::TopK) => sweep.pruner = Pruner::TopK,
        }
        sweep
    }
}

fn run(mut search: Search, jobs: Option<u32>, output: Output) -> Result<(), Error> {
    let stop = stop_on_signals()?;
    let jobs = search.jobs(jobs.map(|jobs| jobs as usize))?;
    begin(&search, jobs, output)?;
    let study = train(&mut search, jobs, &stop, output)?;
    let Some(study) = study else { return interrupted(&search, output) };
    finish(&search, study, &stop, output)
}

/// Trains what has not ended. Returns `None` if it was stopped.
fn train(search: &mut Search, jobs: Jobs, stop: &Arc<AtomicBool>, output: Output) -> Result<Option<Study>, Error> {
    let epochs = search.epochs()?;
    let work = (!output.json).then(|| Work::of("epochs of all trainings", epochs));
    search.run(jobs, stop, &mut |progress| match progress {
        Progress::Epoch { .. } => {
            work.iter().for_each(Work::advance);
            Ok(())
        }
        Progress::Fit { .. } => report(progress, output.json),
        Progress::Warning(text) => {
            print::warning(text);
            Ok(())
        }
    })
}

/// Prints the comparison of the trials, trains the chosen one again, and prints the result.
fn finish(search: &Search, mut study: Study, stop: &Arc<AtomicBool>, output: Output) -> Result<(), Error> {
    let json = output.json;
    if !json {
        print::out(comparison(search.plan(), &study, output.format)?)?;
        about_errors(search.plan(), &study).iter().for_each(print::note);
    }
    let Some(chosen) = study.chosen else {
        if json {
            end(search, &study)?;
        }
        write_at_end(search.folder().path(), !output.files.no_report);
        let has_diverged = study.trials.iter().any(|trial| trial.state == FitState::Diverged);
        let is_unreliable = study.trials.iter().any(|trial| study.is_unreliable(trial));
        return Err(Error::NoTrial { path: search.folder().path().join("trials.csv"), has_diverged, is_unreliable });
    };
    if study.refit.is_none() {
        if !json {
            print::note(format_args!("training trial {chosen} again, on all images but the test split"));
        }
        let mut reporter = ProgressReporter::new(json, search.refit_epochs(chosen)?, 0);
        let is_done = search.refit(&mut study, !output.files.no_tensorboard, stop, &mut reporter)?;
        drop(reporter);
        if !is_done {
            return interrupted(search, output);
        }
        write_at_end(&search.folder().refit(), !output.files.no_report);
    }
    if json {
        end(search, &study)?;
    } else {
        print_choice(search, &study, chosen, output)?;
    }
    let Some(report) = write_at_end(search.folder().path(), !output.files.no_report) else { return Ok(()) };
    if !json {
        print_line(format_args!("report: {}", report.display()), output)?;
    }
    if output.files.open { open_in_browser(&report) } else { Ok(()) }
}

fn interrupted(search: &Search, output: Output) -> Result<(), Error> {
    let path = search.folder().path();
    if output.json {
        print::json(&json!({ "event": "interrupted", "sweep": path.display().to_string() }))?;
    }
    Err(Error::Interrupted(path.to_owned()))
}

fn begin(search: &Search, jobs: Jobs, output: Output) -> Result<(), Error> {
    let (plan, path) = (search.plan(), search.folder().path().display());
    let (trials, fits) = (plan.sweep.tpe.map_or(plan.trials.len(), Count::get), plan.fits().len());
    if output.json {
        return print::json(
            &json!({ "event": "begin", "sweep": path.to_string(), "plan": plan, "trainings": fits, "jobs": jobs.count, "warnings": search.data().warnings }),
        );
    }
    search.data().warnings.iter().for_each(print::warning);
    let factors = [(plan.folds(), "folds"), (Some(plan.sweep.repeats.get()).filter(|repeats| *repeats > 1), "repeats")];
    let splits: String = factors.iter().filter_map(|(count, noun)| count.map(|count| format!(" × {count} {noun}"))).collect();
    print::note(format_args!(
        "{} × {}{splits} = {}, {} at once",
        counted(trials as u64, "trial"),
        counted(plan.seeds.len() as u64, "seed"),
        counted((trials * plan.fits_of_trial()) as u64, "training"),
        grouped(jobs.count as u64)
    ));
    if let Some(drawn) = plan.sweep.random.map(Count::get).filter(|drawn| *drawn > plan.trials.len()) {
        let drawn = counted(drawn as u64, "random combination");
        print::note(format_args!("{drawn} make {}: the others are equal to one of these", counted(plan.trials.len() as u64, "trial")));
    }
    killed(plan.sweep.pruner).iter().for_each(print::note);
    print::note(format_args!("sweep folder: {path}"));
    Ok(())
}

/// How often a pruner ends the trial that would have won (`benches/choosing/pruning.py`).
fn killed(pruner: Pruner) -> Option<String> {
    let (name, share) = match pruner {
        Pruner::None => return None,
        Pruner::Halving => ("halving", 29),
        Pruner::TopK => ("top_k", 43),
    };
    Some(format!(
        "`{name}` can end the trial that would have won: with its defaults in {share} of 100 sweeps of 13 λ and 30 epochs, with earlier decisions in more"
    ))
}

fn report(progress: &Progress, json: bool) -> Result<(), Error> {
    let Progress::Fit { plan, result, done, total, seconds_left } = progress else { return Ok(()) };
    if json {
        return print::json(&json!({ "event": "training", "done": done, "total": total, "seconds_left": seconds_left, "result": result }));
    }
    let pause = if result.state == FitState::Paused { format!("after {}, ", counted(result.epochs, "epoch")) } else { String::new() };
    let left = seconds_left.filter(|_| done < total).map_or(String::new(), |seconds| format!(", {} left", duration(seconds)));
    print::note(format_args!("{done}/{total}: {}: {pause}{}{left}", described(plan, &result.fit), outcome(plan.sweep.criterion, result)));
    Ok(())
}

/// What a training trains, such as `penalty.0.lambda=0.1, seed 1, fold 2`.
pub(super) fn described(plan: &Plan, fit: &Fit) -> String {
    let part = |name: &str, number: Option<usize>| number.map_or(String::new(), |number| format!(", {name} {number}"));
    let finalist = if fit.is_finalist { ", from initial weights" } else { "" };
    format!("{}, seed {}{}{}{finalist}", settings(&plan.trials[fit.trial]), fit.seed, part("repeat", fit.repeat), part("fold", fit.fold))
}

/// How a training ended.
pub(super) fn outcome(criterion: Criterion, result: &FitResult) -> String {
    match (&result.validation_loss, &result.message) {
        (_, Some(message)) => message.clone(),
        (Some(found), None) => {
            [vec![format!("validation loss {}", loss(*found))], metrics_listed(&brief(&result.validation, Measure::DataLoss))]
                .concat()
                .join(", ")
        }
        (None, None) => {
            let unreliable = result.criteria.as_ref().and_then(|found| found.unreliable).filter(|fraction| *fraction > UNRELIABLE);
            let without = unreliable.map_or("not defined".to_owned(), |fraction| format!("unreliable ({})", percent(fraction)));
            let ranked = result.loss(criterion).map_or(without, loss);
            let gamma = result.criteria.as_ref().and_then(|found| found.gamma).map_or(String::new(), |gamma| format!(", γ {gamma:.1}"));
            format!("{} {ranked}{gamma}", criterion_title(criterion))
        }
    }
}

/// Prints the last JSON line.
fn end(search: &Search, study: &Study) -> Result<(), Error> {
    print::json(&json!({ "event": "end", "sweep": search.folder().path().display().to_string(), "study": study }))
}

/// Prints the choice.
fn print_choice(search: &Search, study: &Study, chosen: usize, output: Output) -> Result<(), Error> {
    let plan = search.plan();
    let mut lines = vec![format!("\nchosen: {} ({})", settings(&plan.trials[chosen]), why(plan, study, chosen))];
    for check in &study.path {
        let (path, start) = (loss(check.on_path), loss(check.from_start));
        if check.is_first {
            lines.push(format!("{} from initial weights: {start} (the first of the path)", settings(&plan.trials[check.trial])));
            continue;
        }
        let error = check.standard_error.map_or(String::new(), |error| format!(" (standard error of the difference {})", loss(error)));
        lines.push(format!("{} from initial weights: {start}, on the path: {path}{error}", settings(&plan.trials[check.trial])));
    }
    if let Some(test) = study.refit.as_ref().and_then(|summary| summary.test.as_ref()) {
        let measured = [vec![format!("data loss {}", loss(test.data_loss))], metrics_listed(&brief(&test.metrics, Measure::DataLoss))]
            .concat()
            .join(", ");
        lines.push(format!("trained again on all but the test split; test: {measured}"));
    }
    study.warnings.iter().chain(study.refit.iter().flat_map(|summary| &summary.warnings)).for_each(print::warning);
    lines.push(format!("run folder: {}", search.folder().refit().display()));
    lines.iter().try_for_each(|line| print_line(line, output))
}

/// Prints a line beside the table: after a table for other programs, to standard error.
fn print_line(line: impl std::fmt::Display, output: Output) -> Result<(), Error> {
    if output.format == TableFormatArg::Text {
        return print::out(line);
    }
    print::note(line);
    Ok(())
}
