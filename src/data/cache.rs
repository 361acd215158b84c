//! The cache folder for downloaded datasets and decoded images.

use std::path::PathBuf;

use etcetera::BaseStrategy;

use super::DataError;

/// `$REGULUS_DATA`, or `regulus` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache` on Linux).
///
/// # Errors
///
/// When the variable is not set and the user has no home folder.
pub fn cache_dir() -> Result<PathBuf, DataError> {
    if let Some(dir) = std::env::var_os("REGULUS_DATA").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    etcetera::choose_base_strategy()
        .map(|strategy| strategy.cache_dir().join("regulus"))
        .map_err(|_| DataError::Dataset("cannot find a home folder for the data cache; set REGULUS_DATA to a folder".to_owned()))
}
