//! The file of a config, or a built-in one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use regulus_model::spelling::nearest;

use super::error::ConfigError;

/// The name and text of the built-in experiment.
const QUICKSTART: (&str, &str) = ("quickstart", include_str!("../../configs/quickstart.toml"));
/// Where configs are looked for if one is named without a folder and is not there.
const FOLDER: &str = "configs";

/// The text of the config in `path`, or of the built-in one of that name.
pub(super) fn text_of(path: &Path) -> Result<String, ConfigError> {
    if path == Path::new(QUICKSTART.0) && !path.exists() {
        return Ok(QUICKSTART.1.to_owned());
    }
    if path.is_dir() {
        return Err(ConfigError::Folder { path: path.to_owned() });
    }
    std::fs::read_to_string(path).map_err(|source| {
        let near = if source.kind() == ErrorKind::NotFound { near(path) } else { None };
        ConfigError::Read { path: path.to_owned(), near, source }
    })
}

/// The config with the most similar name: in the folder of `path`; for a name without a folder also the built-in one, and those in `configs`.
fn near(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let mut known = in_folder(folder);
    if folder.as_os_str().is_empty() {
        known.insert(0, PathBuf::from(QUICKSTART.0));
        known.extend(in_folder(Path::new(FOLDER)));
    }
    let stem = |path: &Path| Some(path.with_extension("").file_name()?.to_str()?.to_owned());
    let stems: Vec<String> = known.iter().map(|path| stem(path).unwrap_or_default()).collect();
    let word = nearest(&stem(path)?, &stems.iter().map(String::as_str).collect::<Vec<_>>())?;
    known.into_iter().zip(&stems).find_map(|(path, stem)| (stem == word).then_some(path))
}

/// The configs in a folder, by name. None if it can't be read.
fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let names = read.into_iter().flatten().filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())));
    let mut found: Vec<PathBuf> =
        names.filter(|name| name.extension().is_some_and(|extension| extension == "toml")).map(|name| folder.join(name)).collect();
    found.sort();
    found
}
