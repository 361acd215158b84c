//! Burnpack: Burn's own format, for [`Network`](crate::model::Network)'s `load_file` in a Burn program.

use std::io;

use burn::module::Module;

use crate::trained::Trained;

/// The file's content.
pub(super) fn bytes(trained: &Trained) -> io::Result<Vec<u8>> {
    let record = trained.network.clone().into_record();
    record.into_bytes().map(|bytes| bytes.to_vec()).map_err(io::Error::other)
}
