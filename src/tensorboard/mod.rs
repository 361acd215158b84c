//! TensorBoard: the event file of a run, with scalars, histograms of the kernels, images, settings, and curves of precision and recall.

mod ending;
mod event_file;
mod message;
mod record;
mod summary;

pub use event_file::EventFile;
