//! The runs and sweeps below a folder, from their files. Nothing is written.

mod listed;
mod status;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::data::DataError;
use crate::error::Error;
use crate::search::SweepFolder;

pub use listed::{Kind, Listed};
pub use status::FolderStatus;

/// What a run folder has; another folder hardly has two of them.
const OF_RUN: [&str; 6] = ["config.toml", "manifest.json", "metrics.jsonl", "summary.json", "checkpoints", "lock"];
/// Folders of a run or a sweep that have no runs.
const WITHOUT_RUNS: [&str; 4] = ["checkpoints", "fits", "locks", "configs"];

/// What was found below a folder.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Runs and sweeps in the order of their paths.
    pub found: Vec<Listed>,
    /// Folders that can't be read, and why.
    pub unread: Vec<String>,
}

/// The runs and sweeps in `folder` and below it. Hidden folders are left out. Links to folders elsewhere are followed.
///
/// # Errors
///
/// When `folder` does not exist. What is damaged in it is listed as such.
pub fn list(folder: &Path) -> Result<Listing, Error> {
    if folder.is_file() {
        return Err(DataError::content(folder, "is a file; expected a folder with runs").into());
    }
    if !folder.is_dir() {
        let hint = "expected a folder with runs, such as `artifacts`, where `regulus train` makes them".to_owned();
        return Err(DataError::Missing { path: folder.to_owned(), hint }.into());
    }
    let mut walk = Walk { root: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()), ..Walk::default() };
    walk.visit(folder);
    walk.found.sort();
    let found = walk.found.par_iter().map(|(path, kind)| Listed::read(path, *kind)).collect();
    Ok(Listing { found, unread: walk.unread })
}

/// Goes through folders.
#[derive(Default)]
struct Walk {
    root: PathBuf,
    found: Vec<(PathBuf, Kind)>,
    unread: Vec<String>,
    /// The targets of links that were followed.
    followed: BTreeSet<PathBuf>,
}

impl Walk {
    fn visit(&mut self, folder: &Path) {
        let mut folders = Vec::new();
        let mut of_run = 0;
        let read = std::fs::read_dir(folder).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                let (name, is_link) = (entry.file_name(), entry.file_type()?.is_symlink());
                of_run += usize::from(OF_RUN.iter().any(|own| name == *own));
                let path = entry.path();
                let is_hidden = name.to_string_lossy().starts_with('.');
                let is_folder = if is_link { path.is_dir() } else { entry.file_type()?.is_dir() };
                if is_folder && !is_hidden {
                    folders.push((path, is_link));
                }
            }
            Ok(())
        });
        if let Err(error) = read {
            self.unread.push(format!("cannot read `{}`: {error}", folder.display()));
        }
        // Of two links to a folder the first is followed, whatever the order of the file system.
        folders.sort();
        let is_sweep = SweepFolder::is_sweep(folder);
        if is_sweep {
            self.found.push((folder.to_owned(), Kind::Sweep));
        } else if of_run > 1 {
            self.found.push((folder.to_owned(), Kind::Run));
        }
        let has_runs = |path: &Path| !(is_sweep || of_run > 1) || !WITHOUT_RUNS.iter().any(|name| path.ends_with(name));
        for (path, is_link) in folders {
            if has_runs(&path) && (!is_link || self.is_new(&path)) {
                self.visit(&path);
            }
        }
    }

    /// Whether a link leads out of the root, to a folder that was not visited yet.
    fn is_new(&mut self, link: &Path) -> bool {
        link.canonicalize().is_ok_and(|target| !target.starts_with(&self.root) && self.followed.insert(target))
    }
}
