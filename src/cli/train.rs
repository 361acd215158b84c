//! `regulus train` and `regulus resume`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regulus_model::Task;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::{ResumeArgs, TrainArgs};
use super::bar::{self, Work};
use super::print;
use super::progress::ProgressReporter;
use super::report::{open_in_browser, write_at_end};
use super::report_args::FileArgs;
use super::summary::{print_summary, short};
use super::sweep;
use super::table::{counted, grouped};
use super::tui::{self, Dashboard};
use crate::config::number::Count;
use crate::config::{Experiment, Lambda};
use crate::data::{DataError, FrozenFeatures};
use crate::error::Error;
use crate::launch::{Launch, ResumeOptions};
use crate::run::{RunError, RunFolder};
use crate::search::SweepFolder;
use crate::session::{Session, Status};
use crate::train::Observer;

/// The largest number of classes whose weights are printed.
const LISTED: usize = 20;

/// What is shown while a run is trained, and after it.
#[derive(Clone, Copy)]
struct Shown {
    files: FileArgs,
    is_json: bool,
    is_tui: bool,
}

pub(super) fn train(args: &TrainArgs) -> Result<(), Error> {
    if args.tui {
        tui::check_terminal()?;
    }
    let experiment = Experiment::load_changed(&args.config, &args.unset, &args.set)?;
    if experiment.sweep.is_some() && !args.json {
        print::note("`regulus sweep` uses the section `[sweep]` of the config; `train` does not");
    }
    let work = Work::begin("reading images");
    let launch = Launch::new(experiment, args.run_dir.as_deref(), &|done, total| work.reach(done, total))?;
    drop(work);
    run(launch.with_tensorboard(!args.files.no_tensorboard), Shown { files: args.files, is_json: args.json, is_tui: args.tui })
}

pub(super) fn resume(args: &ResumeArgs) -> Result<(), Error> {
    let epochs = args.epochs.map(Count::try_from).transpose();
    let epochs = epochs.map_err(|problem| Error::Usage(format!("`--epochs` {problem}")))?;
    if !args.run.exists() {
        let hint = "expected a run folder, such as `regulus train` makes".to_owned();
        return Err(DataError::Missing { path: args.run.clone(), hint }.into());
    }
    if SweepFolder::is_sweep(&args.run) {
        for (option, is_given) in [("--epochs", args.epochs.is_some()), ("--tui", args.tui)] {
            if is_given {
                return Err(Error::Usage(format!("`{option}` is for runs, but `{}` is a sweep; leave it out", args.run.display())));
            }
        }
        return sweep::resume(args);
    }
    if let Err(RunError::NotARun { path, missing }) = RunFolder::open(&args.run) {
        let error = if RunFolder::is_unbegun(&path) { RunError::Unbegun { path } } else { RunError::Neither { path, missing } };
        return Err(error.into());
    }
    if args.jobs.is_some() || args.format.is_some() {
        let problem = format!("`--jobs` and `--format` are for sweeps, but `{}` is a run; leave them out", args.run.display());
        return Err(Error::Usage(problem));
    }
    if args.tui {
        tui::check_terminal()?;
    }
    let work = Work::begin("reading images");
    let progress = |done, total| work.reach(done, total);
    let options = ResumeOptions { data_dir: args.data_dir.clone(), epochs, progress: &progress, ..ResumeOptions::default() };
    let launch = Launch::resume(&args.run, options)?;
    drop(work);
    if let Some(launch) = launch {
        return run(launch.with_tensorboard(!args.files.no_tensorboard), Shown { files: args.files, is_json: args.json, is_tui: args.tui });
    }
    let folder = RunFolder::open(&args.run)?;
    print::note(format_args!("run `{}` had ended already", args.run.display()));
    let labels = folder.manifest()?.penalties.unwrap_or_default();
    folder.summary()?.map_or(Ok(()), |summary| print_summary(&folder, &summary, &labels, args.json))
}

fn run(mut launch: Launch, shown: Shown) -> Result<(), Error> {
    let Shown { files, is_json: json, is_tui } = shown;
    let stop = stop_on_signals()?;
    print_begin(&launch, json)?;
    let mut reporter = reporter(&launch, json, is_tui.then_some(&stop))?;
    launch.stop_by(stop);
    let summary = launch.run(&mut *reporter);
    drop(reporter);
    if let (true, Err(Error::Diverged(_)), Ok(Some(summary))) = (json, &summary, launch.folder.summary()) {
        print_summary(&launch.folder, &summary, &[], true)?;
    }
    if let Err(Error::Diverged(_)) = &summary {
        write_at_end(launch.folder.path(), !files.no_report);
    }
    let summary = summary?;
    if summary.status == Status::Interrupted {
        if json {
            print_summary(&launch.folder, &summary, &[], true)?;
        }
        return Err(Error::Interrupted(launch.folder.path().to_owned()));
    }
    print_summary(&launch.folder, &summary, launch.manifest.penalties.as_deref().unwrap_or_default(), json)?;
    let Some(report) = write_at_end(launch.folder.path(), !files.no_report) else { return Ok(()) };
    if !json {
        print::out(format_args!("report: {}", report.display()))?;
    }
    if files.open { open_in_browser(&report) } else { Ok(()) }
}

/// What shows the progress: a screen of its own that sets the flag `tui` when the user quits, or a bar or lines.
fn reporter(launch: &Launch, json: bool, tui: Option<&Arc<AtomicBool>>) -> Result<Box<dyn Observer>, Error> {
    if let Some(stop) = tui {
        return Ok(Box::new(Dashboard::begin(launch, Arc::clone(stop))?));
    }
    let epochs = launch.session().experiment().train.epochs.get() as u64;
    let determined = launch.session().experiment().penalty.iter().zip(launch.manifest.penalties.iter().flatten()).enumerate();
    let determined = determined.filter(|(_, (penalty, _))| !matches!(penalty.schedule, Lambda::Scheduled(_)));
    let determined = determined.map(|(index, (_, label))| (index, label.clone())).collect();
    Ok(Box::new(
        ProgressReporter::new(json, epochs, launch.session().state().step)
            .with_determined_lambdas(determined)
            .with_best_by(launch.manifest.best_by),
    ))
}

/// A flag that SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 sets; cluster managers send one of the last two some time before they end a job. A second SIGINT ends the
/// process at once. A second one of the others has no effect, because some supervisors send it to the process and to its group.
pub(super) fn stop_on_signals() -> Result<Arc<AtomicBool>, Error> {
    bar::leave_signals();
    let stop = Arc::new(AtomicBool::new(false));
    let failed = |error: std::io::Error| Error::Usage(format!("cannot listen for signals: {error}"));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, Arc::clone(&stop)).map_err(failed)?;
    #[cfg(unix)]
    let of_system = [signal_hook::consts::SIGUSR1, signal_hook::consts::SIGUSR2];
    #[cfg(not(unix))]
    let of_system = [];
    for signal in [SIGINT, SIGTERM].into_iter().chain(of_system) {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(failed)?;
    }
    let flag = Arc::clone(&stop);
    let report = move || {
        while !flag.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        // A second Ctrl-C ends the program at once, so the bar is removed now.
        print::clear_bar();
        print::note("stopping as soon as all is saved; Ctrl-C again ends at once");
    };
    std::thread::Builder::new().spawn(report).map_err(failed)?;
    Ok(stop)
}

/// What is computed once for each image.
pub(super) fn frozen_features(session: &Session) -> Option<String> {
    let features = session.features()?;
    let node = &session.graph().nodes()[features.node()].name;
    Some(format!(
        "frozen layers up to `{node}` are computed once for each image, which gives {} numbers",
        grouped(features.length() as u64)
    ))
}

fn print_begin(launch: &Launch, json: bool) -> Result<(), Error> {
    let manifest = &launch.manifest;
    if json {
        return print::json(&json!({
            "event": "begin",
            "run": launch.folder.path().display().to_string(),
            "step": launch.session().state().step,
            "manifest": manifest,
            "memory": launch.session().memory(),
            "frozen_features": launch.session().features().map(FrozenFeatures::length),
            "warnings": launch.warnings,
            "notes": launch.notes,
        }));
    }
    launch.warnings.iter().for_each(print::warning);
    launch.notes.iter().for_each(print::note);
    let (dataset, graph) = (&manifest.dataset, launch.session().graph());
    let [trained, all] = [graph.trained_count(), graph.parameter_count()].map(|count| grouped(count as u64));
    let parameters = if trained == all { all } else { format!("{trained} of {all}") };
    print::note(format_args!(
        "training {parameters} parameters on {} of {} (validation split: {}, test split: {}) with {} on {}, {}",
        format_args!("{} {}", grouped(dataset.train as u64), if manifest.task == Task::Classify { "images" } else { "patches" }),
        dataset.source,
        grouped(dataset.validation as u64),
        grouped(dataset.test as u64),
        manifest.backend,
        manifest.device,
        counted(manifest.threads as u64, "thread")
    ));
    if let Some(features) = frozen_features(launch.session()) {
        print::note(features);
    }
    if let Some(weights) = &manifest.class_weights {
        let listed = manifest.classes.iter().zip(weights).take(LISTED).map(|(class, weight)| format!("{class} {}", short(*weight)));
        let more = if weights.len() > LISTED { ", …" } else { "" };
        print::note(format_args!("class weights: {}{more}", listed.collect::<Vec<_>>().join(", ")));
    }
    print::note(format_args!("memory for training: {}", launch.session().memory()));
    match launch.session().state().step {
        0 => print::note(format_args!("run folder: {}", launch.folder.path().display())),
        step => print::note(format_args!("run folder: {}, going on after step {step}", launch.folder.path().display())),
    }
    Ok(())
}
