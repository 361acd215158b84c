//! `regulus sweep plan`, `run`, `collect`, `slurm` and `kubernetes`: a sweep on several machines.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde_json::json;

use super::args::{SweepArgs, TableFormatArg};
use super::bar::Work;
use super::print;
use super::report_args::FileArgs;
use super::sweep::{Output, described, go_on, outcome};
use super::sweep_args::{CollectArgs, KubernetesArgs, RunArgs, SlurmArgs, SweepCommand};
use super::table::counted;
use super::train::stop_on_signals;
use crate::atomic;
use crate::data::DataError;
use crate::error::Error;
use crate::search::{
    Ended, FitResult, FitState, KubernetesJob, MIN_SECONDS, Plan, Search, SingleTraining, SlurmScripts, SweepFolder, TrainingList,
    check_independent, index_ranges, time_limit,
};

pub(super) fn run(command: &SweepCommand) -> Result<(), Error> {
    match command {
        SweepCommand::Plan(args) => plan(args),
        SweepCommand::Run(args) => train(args),
        SweepCommand::Collect(args) => collect(args),
        SweepCommand::Slurm(args) => slurm(args),
        SweepCommand::Kubernetes(args) => kubernetes(args),
    }
}

fn plan(args: &SweepArgs) -> Result<(), Error> {
    if args.jobs.is_some() || args.format != TableFormatArg::Text || args.files != FileArgs::default() {
        let problem = "`--jobs`, `--format`, `--open`, `--no-report` and `--no-tensorboard` are for a sweep in this process; `sweep plan` only plans it, so leave them out";
        return Err(Error::Usage(problem.to_owned()));
    }
    let config = args.table()?;
    let sweep = args.search.applied_to(config.sweep()?);
    check_independent(&sweep)?;
    let work = Work::begin("reading images");
    let search = Search::begin(&config, &sweep, args.sweep_dir.as_deref(), &|done, total| work.reach(done, total))?;
    drop(work);
    let (plan, warnings) = (search.plan(), &search.data().warnings);
    let trainings = TrainingList::write(plan, search.folder())?.trainings.len();
    let path = search.folder().path().display();
    if args.json {
        let event = json!({ "event": "plan", "sweep": path.to_string(), "plan": plan, "trainings": trainings, "warnings": warnings });
        return print::json(&event);
    }
    warnings.iter().for_each(print::warning);
    print::out(format_args!("{} planned in {path}", counted(trainings as u64, "training")))?;
    let last = trainings - 1;
    print::note(format_args!(
        "train each with `regulus sweep run {path} --index I`, I from 0 to {last}; then `regulus sweep collect {path}`"
    ));
    print::note(format_args!("on Slurm: `regulus sweep slurm {path} --submit`; here: `regulus resume {path}`"));
    Ok(())
}

/// Trains one training.
fn train(args: &RunArgs) -> Result<(), Error> {
    let (folder, plan) = open(&args.sweep)?;
    let index = args.index.map_or_else(index_of_task, Ok)?;
    let mut training = SingleTraining::open(&plan, &folder, index)?;
    if let Some(result) = folder.result(&training.fit)? {
        return report(&plan, index, &result, true, args.json);
    }
    // First, so that a signal while images are read has the exit code of an interruption.
    let stop = stop_on_signals()?;
    let work = Work::begin("reading images");
    let data = plan.data(&|done, total| work.reach(done, total))?;
    drop(work);
    plan.check_data(&data)?;
    let backend = &mut training.experiment.backend;
    if let Some(cpus) = cpus_of_task().filter(|_| backend.kind.is_cpu() && backend.threads == 0) {
        backend.threads = cpus;
    }
    if !args.json {
        print::note(format_args!("training {index} of {}: {}", plan.fits().len(), described(&plan, &training.fit)));
    }
    let interrupted = || Error::InterruptedTraining { path: args.sweep.clone(), index };
    if stop.load(Ordering::Relaxed) {
        return Err(interrupted());
    }
    let mut waiting =
        |owner: &str| print::note(format_args!("{owner} has locked this training; waiting up to a minute to see whether it still runs"));
    let result = training.train(&folder, &data, &stop, &mut waiting)?.ok_or_else(interrupted)?;
    report(&plan, index, &result, false, args.json)
}

/// The index that Slurm or Kubernetes gives to the task.
fn index_of_task() -> Result<usize, Error> {
    let variables = ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"];
    let set = variables.into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let Some((name, value)) = set else {
        return Err(Error::Usage(format!("which training? Give `--index I`, or set `{}` or `{}`", variables[0], variables[1])));
    };
    value.parse().map_err(|_| Error::Usage(format!("the environment variable `{name}` is `{value}`; expected an index, a number from 0")))
}

/// The CPUs that Slurm gives to the task.
fn cpus_of_task() -> Option<usize> {
    std::env::var("SLURM_CPUS_PER_TASK").ok()?.parse().ok().filter(|cpus| *cpus > 0)
}

fn report(plan: &Plan, index: usize, result: &FitResult, ended_before: bool, json: bool) -> Result<(), Error> {
    if json {
        return print::json(&json!({ "event": "training", "index": index, "ended_before": ended_before, "result": result }));
    }
    let before = if ended_before { "has ended before" } else { "has ended" };
    if result.state != FitState::Completed {
        print::warning(format_args!("training {index} did not complete; the sweep records this as its result"));
    }
    print::out(format_args!("training {index} ({}) {before}: {}", described(plan, &result.fit), outcome(plan.sweep.criterion, result)))
}

fn collect(args: &CollectArgs) -> Result<(), Error> {
    let (shared, plan) = open(&args.sweep)?;
    let ended = Ended::read(&plan, &shared)?;
    if ended.missing.is_empty() {
        return go_on(&args.sweep, None, Some(1), Output { format: args.format, json: args.json, files: args.files });
    }
    let (folder, _) = SweepFolder::open(&args.sweep)?;
    ended.write(&plan, &folder, &mut |text| print::warning(text))?;
    let (missing, indexes) = (ended.missing.len(), index_ranges(&ended.missing));
    Err(Error::MissingTrainings { path: args.sweep.clone(), missing, total: plan.fits().len(), indexes })
}

/// Slurm's limit of the indexes of an array, unless it is configured.
const MAX_ARRAY_SIZE: usize = 1001;

fn slurm(args: &SlurmArgs) -> Result<(), Error> {
    let (folder, plan) = open(&args.sweep)?;
    let missing = Ended::read(&plan, &folder)?.missing;
    let path = args.sweep.display();
    let Some(last) = missing.last() else { return all_ended("slurm", &args.sweep, args.json) };
    if *last >= MAX_ARRAY_SIZE {
        print::warning(format_args!("the indexes go up to {last}, but Slurm allows {} unless `MaxArraySize` is set", MAX_ARRAY_SIZE - 1));
    }
    let mut options = vec![format!("--cpus-per-task={}", args.cpus_per_task)];
    for (name, value) in [("partition", &args.partition), ("time", &args.time)] {
        if let Some(value) = value {
            if value.is_empty() || value.contains(char::is_whitespace) {
                return Err(Error::Usage(format!("`--{name}` is `{value}`; expected one word")));
            }
            options.push(format!("--{name}={value}"));
        }
    }
    check_time(args.time.as_deref())?;
    options.extend(args.sbatch_option.iter().cloned());
    let program = std::env::current_exe().map_err(|error| Error::Usage(format!("the path of this program is not known: {error}")))?;
    let scripts = SlurmScripts {
        name: plan.name.clone(),
        program,
        sweep: absolute(&args.sweep),
        indexes: index_ranges(&missing),
        concurrency: args.concurrency.map(|tasks| tasks as usize),
        options,
    };
    let written = scripts.write()?;
    let jobs = if args.submit { Some(written.submit()?) } else { None };
    let (train, collect) = (written.train.display(), written.collect.display());
    if args.json {
        return print::json(&json!({
            "event": "slurm", "trainings": missing.len(), "indexes": scripts.indexes,
            "train": train.to_string(), "collect": collect.to_string(),
            "train_job": jobs.as_ref().map(|jobs| &jobs.0), "collect_job": jobs.as_ref().map(|jobs| &jobs.1),
        }));
    }
    let trainings = format!("{} ({})", counted(missing.len() as u64, "training"), scripts.indexes);
    if let Some((array, after)) = jobs {
        return print::out(format_args!("submitted: job {array} for {trainings}, job {after} to collect them"));
    }
    print::out(format_args!("{train}\n{collect}"))?;
    print::note(format_args!("scripts for {trainings}; submit them with `regulus sweep slurm {path} --submit`, or by hand:"));
    print::note(format_args!("sbatch --dependency=afterany:$(sbatch --parsable \"{train}\") \"{collect}\""));
    Ok(())
}

/// Checks that a time limit is one, and leaves time to train.
fn check_time(time: Option<&str>) -> Result<(), Error> {
    let Some(text) = time else { return Ok(()) };
    match time_limit(text) {
        None => Err(Error::Usage(format!(
            "`--time` is `{text}`; expected a time as Slurm has it, such as `30` (minutes), `2:00:00` or `1-12` (days-hours)"
        ))),
        Some(seconds) if seconds < MIN_SECONDS => {
            let problem = "a training would save its state as soon as it begins, and be queued again for ever; expected at least `0:03:00`";
            Err(Error::Usage(format!("`--time` is `{text}`, but Slurm signals 90 seconds before the end: {problem}")))
        }
        Some(_) => Ok(()),
    }
}

/// Prints that all trainings have ended, in place of files for a cluster.
fn all_ended(event: &str, sweep: &Path, json: bool) -> Result<(), Error> {
    if json {
        return print::json(&json!({ "event": event, "trainings": 0 }));
    }
    print::out(format_args!("all trainings have ended; compare them with `regulus sweep collect {}`", sweep.display()))
}

fn kubernetes(args: &KubernetesArgs) -> Result<(), Error> {
    print::reserve("--output", args.output.as_deref(), args.json)?;
    let (folder, plan) = open(&args.sweep)?;
    if Ended::read(&plan, &folder)?.missing.is_empty() {
        return all_ended("kubernetes", &args.sweep, args.json);
    }
    let (trainings, sweep) = (plan.fits().len(), absolute(&args.sweep));
    let job = KubernetesJob {
        name: plan.name.clone(),
        trainings,
        image: args.image.clone(),
        sweep: args.container_dir.clone().unwrap_or(sweep),
        volumes: args.volume_claim.clone(),
        concurrency: args.concurrency as usize,
        cpus: args.cpus.clone(),
        memory: args.memory.clone(),
        variables: args.env.clone(),
    };
    let manifest = job.manifest()?;
    let path = args.output.clone().unwrap_or_else(|| folder.path().join("kubernetes.json"));
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_else(|error| unreachable!("words and numbers serialize: {error}"));
    atomic::write(&path, format!("{text}\n").as_bytes())?;
    if args.json {
        return print::json(&json!({ "event": "kubernetes", "trainings": trainings, "manifest": path.display().to_string() }));
    }
    if let Some(dir) =
        plan.experiment(&plan.fits()[0])?.data.dir.filter(|dir| !job.volumes.iter().any(|volume| dir.starts_with(&volume.path)))
    {
        print::warning(format_args!(
            "the images are in `{}`, which is in no volume; the container image must have them there",
            dir.display()
        ));
    }
    if !atomic::is_dash(&path) {
        print::out(path.display())?;
    }
    print::note(format_args!(
        "start it with `kubectl apply -f {}`; when it has ended: `regulus sweep collect {}`",
        path.display(),
        args.sweep.display()
    ));
    Ok(())
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Opens the folder of a sweep, without locking it.
fn open(path: &Path) -> Result<(SweepFolder, Plan), Error> {
    if !path.exists() {
        let hint = "expected the folder of a sweep, such as `regulus sweep plan CONFIG --sweep-dir DIR` makes".to_owned();
        return Err(DataError::Missing { path: path.to_owned(), hint }.into());
    }
    if !SweepFolder::is_sweep(path) {
        let problem =
            format!("`{}` is not the folder of a sweep; make one with `regulus sweep plan CONFIG --sweep-dir DIR`", path.display());
        return Err(Error::Usage(problem));
    }
    let (folder, plan) = SweepFolder::open_shared(path)?;
    check_independent(&plan.sweep)?;
    Ok((folder, plan))
}
