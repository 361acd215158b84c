//! `regulus export --to`: what a run measured, for other programs.

use std::path::Path;

use serde_json::json;

use super::export_args::{ExportArgs, TrackerArg};
use super::print;
use crate::atomic;
use crate::data::DataError;
use crate::error::{Error, WriteError};
use crate::export::write_metrics_csv;
use crate::mlflow::{self, Credentials, Destination};
use crate::run::RunFolder;
use crate::tensorboard::EventFile;

pub(super) fn export_run(args: &ExportArgs, to: TrackerArg) -> Result<(), Error> {
    let run = &args.model.model;
    if !run.exists() {
        let hint = "expected a run folder, such as `regulus train` makes".to_owned();
        return Err(DataError::Missing { path: run.clone(), hint }.into());
    }
    let is_server = to == TrackerArg::Mlflow;
    if !is_server && (args.uri.is_some() || args.experiment.is_some()) {
        return Err(Error::Usage("`--uri` and `--experiment` are for `--to mlflow`; leave them out".to_owned()));
    }
    if to != TrackerArg::Csv && args.output.is_some() {
        return Err(Error::Usage("`--output` is for files of networks and for `--to csv`; leave it out".to_owned()));
    }
    print::reserve("--output", args.output.as_deref(), args.json)?;
    match to {
        TrackerArg::Csv => to_csv(args),
        TrackerArg::Tensorboard => to_tensorboard(run, args.json),
        TrackerArg::Mlflow => to_mlflow(args),
    }
}

fn to_csv(args: &ExportArgs) -> Result<(), Error> {
    let folder = RunFolder::open(&args.model.model)?;
    let path = args.output.clone().unwrap_or_else(|| folder.path().join("metrics.csv"));
    folder.refuse_own(&path)?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(WriteError::at(parent))?;
    }
    let (rows, penalties) = (folder.metrics()?, folder.manifest()?.penalties.unwrap_or_default());
    write_metrics_csv(&rows, &penalties, &path)?;
    written(&path, args.json)
}

fn to_tensorboard(run: &Path, json: bool) -> Result<(), Error> {
    let mut folder = RunFolder::open(run)?;
    folder.lock()?;
    let mut events = EventFile::open(&folder)?;
    if let Some(summary) = folder.summary()? {
        events.end(&summary, folder.evaluation()?.as_ref())?;
    }
    written(events.path(), json)
}

fn written(path: &Path, json: bool) -> Result<(), Error> {
    if json {
        return print::json(&json!({ "output": path.display().to_string() }));
    }
    let line = print::written(path);
    // A pipe or terminal may be standard output.
    if atomic::is_special(path) {
        print::note(line);
        return Ok(());
    }
    print::out(line)
}

fn to_mlflow(args: &ExportArgs) -> Result<(), Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let uri = args.uri.clone().or_else(|| variable("MLFLOW_TRACKING_URI")).ok_or_else(|| {
        let problem = "`--to mlflow` needs the address of a server; give `--uri http://HOST:PORT`, or set `MLFLOW_TRACKING_URI`";
        Error::Usage(problem.to_owned())
    })?;
    let experiment = args.experiment.clone().or_else(|| variable("MLFLOW_EXPERIMENT_NAME"));
    let exported = mlflow::export(&args.model.model, &Destination { uri, experiment, credentials: Credentials::from_environment() })?;
    if args.json {
        return print::json(&exported);
    }
    exported.warnings.iter().for_each(print::warning);
    let what = if exported.was_there { "updated" } else { "created" };
    print::out(format_args!("{what} {}", exported.page))
}
