//! `regulus export`.

use std::path::Path;

use serde_json::json;

use super::args::{ExportArgs, FormatArg};
use super::evaluate::load;
use super::print;
use crate::error::{Error, WriteError};
use crate::export::{Format, export as write};

pub(super) fn export(args: &ExportArgs) -> Result<(), Error> {
    let (folder, trained) = load(&args.run, None)?;
    let format = match args.format {
        FormatArg::Safetensors => Format::Safetensors,
        FormatArg::Burnpack => Format::Burnpack,
    };
    let path = args.output.clone().unwrap_or_else(|| folder.path().join(format!("model.{}", format.extension())));
    refuse_own_files(folder.path(), &path)?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(WriteError::at(parent))?;
    }
    write(&trained, format, &path)?;
    if args.json {
        return print::json(
            &json!({ "output": path.display().to_string(), "epoch": trained.position.epoch, "step": trained.position.step }),
        );
    }
    print::out(format_args!("wrote {} (weights after epoch {}, step {})", path.display(), trained.position.epoch, trained.position.step))
}

/// An export must not take the place of a file the run lives by.
fn refuse_own_files(run: &Path, path: &Path) -> Result<(), Error> {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let run = real(run);
    let own = path.exists()
        && real(path).starts_with(&run)
        && !matches!(real(path).extension(), Some(end) if end == "bpk" || end == "safetensors");
    let inside = path.parent().is_some_and(|parent| real(parent).starts_with(run.join("checkpoints")));
    if own || inside {
        return Err(Error::Usage(format!("`{}` belongs to the run; export to another file", path.display())));
    }
    Ok(())
}
