//! `regulus report`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::print;
use super::report_args::ReportArgs;
use crate::atomic;
use crate::error::Error;
use crate::report::write;

pub(super) fn report(args: &ReportArgs) -> Result<(), Error> {
    print::reserve("--output", args.output.as_deref(), args.json)?;
    if args.open && args.output.as_deref().is_some_and(atomic::is_dash) {
        return Err(Error::Usage("`--open` needs a file, but `--output -` is standard output; leave one out".to_owned()));
    }
    let path = write(&args.folder, args.output.as_deref())?;
    if args.json {
        print::json(&json!({ "report": path.display().to_string() }))?;
    } else if !atomic::is_dash(&path) {
        print::out(path.display())?;
    }
    if args.open { open_in_browser(&path) } else { Ok(()) }
}

/// Opens a page in the browser.
pub(super) fn open_in_browser(page: &Path) -> Result<(), Error> {
    open::that_detached(page).map_err(|error| {
        let problem = format!("{error}; open `{}` in a browser", page.display());
        Error::Program { program: "the browser", problem }
    })
}

/// Writes the report of a run or sweep that has ended, if it `is_wanted`. What is trained is not lost without one: a failure is a warning.
pub(super) fn write_at_end(folder: &Path, is_wanted: bool) -> Option<PathBuf> {
    if !is_wanted {
        return None;
    }
    let written = write(folder, None);
    written
        .inspect_err(|error| {
            let problem = [vec![error.to_string()], print::causes(error)].concat().join(": ");
            print::warning(format_args!("no report was written: {problem}; `regulus report {}` tries again", folder.display()));
        })
        .ok()
}
