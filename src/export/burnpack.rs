//! Burnpack, Burn's format, for `load_file` of [`Network`](crate::network::Network) in a Burn program.

use std::io;

use burn::module::Module;
use burn_pack::{Reader, Writer};

use crate::trained::Trained;

/// The content of the file. The metadata has the keys of the [`Description`](regulus_model::Description), which `burn_pack::Reader` reads.
pub(super) fn bytes(trained: &Trained) -> io::Result<Vec<u8>> {
    let record = trained.network().into_record().into_bytes().map_err(io::Error::other)?;
    let tensors = Reader::from_bytes(record).and_then(Reader::into_tensors).map_err(io::Error::other)?;
    let metadata = trained.description.to_metadata();
    let writer = metadata.iter().fold(Writer::new(tensors), |writer, (key, value)| writer.with_metadata(key, value));
    writer.into_bytes().map(|bytes| bytes.to_vec()).map_err(io::Error::other)
}
