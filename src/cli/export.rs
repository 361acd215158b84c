//! `regulus export`.

use std::path::Path;

use serde_json::json;

use super::evaluate::open_with;
use super::export_args::{ExportArgs, FormatArg};
use super::export_run::export_run;
use super::print;
use crate::atomic;
use crate::config::Precision;
use crate::error::{Error, WriteError};
use crate::export::{Format, export as write};
use crate::trained::{LoadOptions, Trained};

pub(super) fn export(args: &ExportArgs) -> Result<(), Error> {
    if let Some(to) = args.to {
        return export_run(args, to);
    }
    print::reserve("--output", args.output.as_deref(), args.json)?;
    let format = format(args)?;
    // A file has no precision, and this processor may not have that of the run.
    let trained = open_with(&args.model, LoadOptions { precision: Some(Precision::F32), ..LoadOptions::default() })?;
    let source = &args.model.model;
    let path = match (&args.output, trained.run()) {
        (Some(path), _) => path.clone(),
        (None, Some(run)) => run.folder.path().join(format!("model.{}", format.extension())),
        (None, None) => source.with_extension(format.extension()),
    };
    match trained.run() {
        Some(run) => run.folder.refuse_own(&path)?,
        None if canonical(source) == canonical(&path) => {
            return Err(Error::Usage(format!("`{}` is the file to export; name another one with `--output`", source.display())));
        }
        None => {}
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(WriteError::at(parent))?;
    }
    write(&trained, format, &path)?;
    report(&trained, &path, args.json)
}

fn report(trained: &Trained, path: &Path, json: bool) -> Result<(), Error> {
    let state = trained.run().map(|run| &run.state);
    if json {
        let (epoch, step) = state.map(|state| (state.epoch, state.step)).unzip();
        return print::json(&json!({ "output": path.display().to_string(), "epoch": epoch, "step": step }));
    }
    let weights = state.map_or(String::new(), |state| format!(" (weights after epoch {}, step {})", state.epoch, state.step));
    let line = format!("{}{weights}", print::written(path));
    // A pipe or terminal may be standard output.
    if atomic::is_special(path) {
        print::note(line);
        return Ok(());
    }
    print::out(line)
}

/// The format. It must agree with the extension of the output file, unless that is a pipe or device.
fn format(args: &ExportArgs) -> Result<Format, Error> {
    let requested = args.format.map(|format| match format {
        FormatArg::Safetensors => Format::Safetensors,
        FormatArg::Burnpack => Format::Burnpack,
    });
    let of_output = match &args.output {
        Some(path) if !atomic::is_special(path) => Format::of(path)?,
        _ => None,
    };
    match (requested, of_output, &args.output) {
        (Some(requested), Some(other), Some(path)) if requested != other => {
            let (name, end) = (requested.name(), requested.extension());
            Err(Error::Usage(format!(
                "`{}` does not end as {name} files do; expected `.{end}`, or `--format {}`",
                path.display(),
                other.name()
            )))
        }
        _ => Ok(requested.or(of_output).unwrap_or(Format::Safetensors)),
    }
}

/// The canonical path; the absolute path if the file is missing.
fn canonical(path: &Path) -> std::path::PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}
