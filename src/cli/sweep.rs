//! `regulus sweep`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::args::{RuleArg, SweepArgs};
use super::bar::Work;
use super::print;
use super::progress::ProgressReporter;
use super::sweep_args::SweepCommandArgs;
use super::sweep_cluster;
use super::table::{counted, duration, grouped, loss, metric_title, metric_value, metrics_listed, percent, table};
use super::train::stop_on_signals;
use crate::clock;
use crate::config::{ConfigTable, Experiment};
use crate::data::Data;
use crate::error::Error;
use crate::search::{
    Dimension, Plan, PlanOptions, Progress, Rule, Runner, Study, SweepFolder, TrialSummary, UnitResult, UnitState, ended_refit,
    lambda_grid, refit, trials_csv,
};
use crate::session::{Status, Summary};

/// The command or one of its subcommands.
pub(super) fn sweep_or(args: &SweepCommandArgs) -> Result<(), Error> {
    match (&args.command, &args.sweep) {
        (Some(command), _) => sweep_cluster::run(command),
        (None, Some(args)) => sweep(args),
        (None, None) => Err(Error::Usage("`regulus sweep` needs a config, or one of its commands; see `regulus sweep --help`".to_owned())),
    }
}

fn sweep(args: &SweepArgs) -> Result<(), Error> {
    let (plan, data, folder) = planned(args)?;
    run(&folder, &plan, &data, args.jobs, args.json)
}

/// Plans a sweep and creates its folder.
pub(super) fn planned(args: &SweepArgs) -> Result<(Plan, Data, SweepFolder), Error> {
    let config = ConfigTable::load(&args.config, &args.unset, &args.set)?;
    let experiment = config.experiment()?;
    let space: Vec<Dimension> = args.grid.iter().map(|grid| Dimension::parse(grid)).collect::<Result<_, _>>()?;
    let rule = match args.rule {
        RuleArg::Minimum => Rule::Minimum,
        RuleArg::OneStandardError => Rule::OneStandardError,
    };
    let [seeds, folds, random] = [Some(args.seeds), args.folds, args.random].map(|number| number.map(|number| number as usize));
    let options = PlanOptions { space, random, seeds: seeds.unwrap_or(1), folds, rule };
    let mut loaded = None;
    let plan = if options.space.is_empty() {
        // The range of λ is found from the data.
        let probe = Plan::new(&config, PlanOptions { random: None, ..options.clone() })?;
        let data = read(&probe)?;
        let found = lambda_grid(&probe.experiment(&probe.units()[0])?, &data)?;
        loaded = Some(data);
        Plan::new(&config, PlanOptions { space: vec![found], random: None, ..options })?
    } else {
        Plan::new(&config, options)?
    };
    let data = match loaded {
        Some(data) => data,
        None => read(&plan)?,
    };
    let plan = plan.of_data(&data)?;
    let path = args.sweep_dir.clone().unwrap_or_else(|| named(&experiment));
    let folder = SweepFolder::create(&path, &plan)?;
    Ok((plan, data, folder))
}

/// Goes on with the sweep in `path`.
pub(super) fn resume(path: &Path, jobs: Option<u32>, json: bool) -> Result<(), Error> {
    let (folder, plan) = SweepFolder::open(path)?;
    let data = read(&plan)?;
    plan.check_data(&data)?;
    run(&folder, &plan, &data, jobs, json)
}

/// The folder of a sweep that is not named.
fn named(experiment: &Experiment) -> PathBuf {
    let time: String = clock::now().chars().filter(char::is_ascii_alphanumeric).collect();
    experiment.artifacts.join(&experiment.name).join(format!("sweep-{time}"))
}

pub(super) fn read(plan: &Plan) -> Result<Data, Error> {
    let work = Work::begin("reading images");
    let data = plan.data(&|done, total| work.reach(done, total))?;
    drop(work);
    Ok(data)
}

fn run(folder: &SweepFolder, plan: &Plan, data: &Data, jobs: Option<u32>, json: bool) -> Result<(), Error> {
    let stop = stop_on_signals()?;
    let backend = plan.refit_experiment(0, data)?.backend;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let default = if backend.kind.is_cpu() { (cores / backend.threads.max(1)).max(1) } else { 1 };
    let jobs = jobs.map_or(default, |jobs| jobs as usize).min(plan.units().len().max(1));
    let threads = (backend.kind.is_cpu() && backend.threads == 0).then(|| (cores / jobs).max(1));
    begin(folder, plan, data, jobs, json)?;
    let runner = Runner { plan, data, folder, jobs, threads, stop: Arc::clone(&stop) };
    let results = runner.run(&mut |progress| report(plan, progress, json))?;
    let Some(results) = results else { return Err(Error::Interrupted(folder.path().to_owned())) };
    let mut study = Study::new(plan, &results);
    study.refit = ended_refit(folder)?;
    let csv = trials_csv(plan, &results)?;
    folder.write_study(&study, &csv)?;
    if !json {
        print::out(comparison(plan, &study))?;
    }
    let Some(chosen) = study.chosen else {
        if json {
            finish(folder, plan, &study, json)?;
        }
        let has_diverged = study.trials.iter().any(|trial| trial.state == UnitState::Diverged);
        return Err(Error::NoTrial { path: folder.path().join("trials.csv"), has_diverged });
    };
    if study.refit.is_none() {
        study.refit = Some(run_refit(folder, plan, chosen, data, &stop, json)?);
        folder.write_study(&study, &csv)?;
    }
    finish(folder, plan, &study, json)
}

fn run_refit(folder: &SweepFolder, plan: &Plan, chosen: usize, data: &Data, stop: &Arc<AtomicBool>, json: bool) -> Result<Summary, Error> {
    if !json {
        print::note(format_args!("training trial {chosen} again, on the validation data too"));
    }
    let epochs = plan.refit_experiment(chosen, data)?.train.epochs.get() as u64;
    let mut reporter = ProgressReporter::new(json, epochs, 0);
    let summary = refit(plan, chosen, data, folder, stop, &mut reporter)?;
    drop(reporter);
    if summary.status == Status::Interrupted {
        return Err(Error::Interrupted(folder.path().to_owned()));
    }
    Ok(summary)
}

fn begin(folder: &SweepFolder, plan: &Plan, data: &Data, jobs: usize, json: bool) -> Result<(), Error> {
    let (trials, units) = (plan.trials.len(), plan.units().len());
    if json {
        return print::json(
            &json!({ "event": "begin", "sweep": folder.path().display().to_string(), "plan": plan, "trainings": units, "jobs": jobs, "warnings": data.warnings }),
        );
    }
    data.warnings.iter().for_each(print::warning);
    let folds = plan.folds.map_or(String::new(), |folds| format!(" × {folds} folds"));
    print::note(format_args!(
        "{} × {}{folds} = {}, {} at once",
        counted(trials as u64, "trial"),
        counted(plan.seeds.len() as u64, "seed"),
        counted(units as u64, "training"),
        grouped(jobs as u64)
    ));
    print::note(format_args!("sweep folder: {}", folder.path().display()));
    Ok(())
}

fn report(plan: &Plan, progress: &Progress, json: bool) -> Result<(), Error> {
    let Progress { result, done, total, seconds_left } = progress;
    if json {
        return print::json(&json!({ "event": "training", "done": done, "total": total, "seconds_left": seconds_left, "result": result }));
    }
    let settings = settings(&plan.trials[result.unit.trial]);
    let fold = result.unit.fold.map_or(String::new(), |fold| format!(", fold {fold}"));
    let outcome = outcome(result);
    let left = if done < total { format!(", {} left", duration(*seconds_left)) } else { String::new() };
    print::note(format_args!("{done}/{total}: {settings}, seed {}{fold}: {outcome}{left}", result.unit.seed));
    Ok(())
}

/// How a training ended.
pub(super) fn outcome(result: &UnitResult) -> String {
    match (&result.validation_loss, &result.message) {
        (Some(found), None) => [vec![format!("validation loss {}", loss(*found))], metrics_listed(&result.validation)].concat().join(", "),
        (_, message) => message.clone().unwrap_or_else(|| "no validation loss".to_owned()),
    }
}

/// The settings of a trial, such as `penalty.0.lambda=0.1`.
pub(super) fn settings(settings: &[(String, toml::Value)]) -> String {
    settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

fn finish(folder: &SweepFolder, plan: &Plan, study: &Study, json: bool) -> Result<(), Error> {
    if json {
        return print::json(&json!({ "event": "end", "sweep": folder.path().display().to_string(), "study": study }));
    }
    let Some(chosen) = study.chosen else { return Ok(()) };
    print::out(format_args!("\nchosen: {} ({})", settings(&plan.trials[chosen]), why(plan, study, chosen)))?;
    if let Some(test) = study.refit.as_ref().and_then(|summary| summary.test.as_ref()) {
        let measured = [vec![format!("data loss {}", loss(test.data_loss))], metrics_listed(&test.metrics)].concat().join(", ");
        print::out(format_args!("trained again on all but the test split; test: {measured}"))?;
    }
    study.refit.iter().flat_map(|summary| &summary.warnings).for_each(print::warning);
    print::out(format_args!("run folder: {}", folder.refit().display()))
}

fn why(plan: &Plan, study: &Study, chosen: usize) -> String {
    match (plan.rule, study.minimum) {
        (Rule::OneStandardError, Some(minimum)) if minimum == chosen => {
            "the lowest validation loss; no larger λ is within one standard error of it".to_owned()
        }
        (Rule::OneStandardError, Some(minimum)) => {
            format!("the largest λ within one standard error of the lowest validation loss, that of {}", settings(&plan.trials[minimum]))
        }
        _ => "the lowest validation loss".to_owned(),
    }
}

/// The table of the trials.
fn comparison(plan: &Plan, study: &Study) -> String {
    let metrics: Vec<String> = study
        .trials
        .iter()
        .find(|trial| !trial.validation.is_empty())
        .map(|trial| trial.validation.keys().cloned().collect())
        .unwrap_or_default();
    let has_zeros = study.trials.iter().any(|trial| trial.zero_weights.is_some_and(|zeros| zeros > 0.0));
    let keys = plan.space.iter().map(|dimension| dimension.key.clone());
    let measured = ["validation loss", "difference", "± standard error"].map(str::to_owned);
    let mut header: Vec<String> = keys.chain(measured).chain(metrics.iter().map(|name| metric_title(name))).collect();
    header.push("‖w‖²".to_owned());
    header.extend(has_zeros.then(|| "weights 0".to_owned()));
    header.push(String::new());
    let row = |trial: &TrialSummary| {
        let setting = |key: &String| plan.setting(trial.trial, key).map_or("-".to_owned(), ToString::to_string);
        let mut cells: Vec<String> = plan.space.iter().map(|dimension| setting(&dimension.key)).collect();
        match &trial.comparison {
            Some(found) => {
                let error = found.standard_error.map_or("-".to_owned(), |error| format!("{error:.4}"));
                cells.extend([loss(found.mean), format!("{:+.4}", found.difference), error]);
            }
            None => cells.extend(["-", "-", "-"].map(str::to_owned)),
        }
        cells.extend(metrics.iter().map(|name| trial.validation.get(name).map_or("-".to_owned(), |value| metric_value(name, *value))));
        cells.push(trial.weight_norm_squared.map_or("-".to_owned(), |norm| format!("{norm:.3}")));
        if has_zeros {
            cells.push(trial.zero_weights.map_or("-".to_owned(), percent));
        }
        cells.push(mark(trial, study));
        cells
    };
    table(&header.iter().map(String::as_str).collect::<Vec<_>>(), study.trials.iter().map(row))
}

/// What is special about a trial.
fn mark(trial: &TrialSummary, study: &Study) -> String {
    let state = match trial.state {
        UnitState::Completed => None,
        UnitState::Diverged => Some("diverged"),
        UnitState::Failed => Some("failed"),
    };
    let marks = [state, (study.minimum == Some(trial.trial)).then_some("minimum"), (study.chosen == Some(trial.trial)).then_some("chosen")];
    marks.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
