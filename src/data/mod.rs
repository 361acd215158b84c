//! Datasets: images and labels of any source in memory, splits, normalization, augmentation and batches.

mod batch;
mod cache;
mod cifar10;
mod decode;
mod decoded_cache;
mod error;
mod folder;
mod idx;
mod image_list;
mod images;
mod known_dataset;
mod left_out;
mod legacy_listing;
mod load;
mod loader;
mod mnist_mini;
mod normalize;
mod picture;
mod raw_dataset;
mod scan;
mod split;
mod survey;
mod transform;

pub use batch::{Batch, Batcher, HostBatch};
pub use cache::cache_dir;
pub use error::DataError;
#[cfg(feature = "cli")]
pub(crate) use idx::read_file as read_idx_file;
pub use image_list::images_in;
pub use images::{Images, LabelledImage, Subset};
pub use known_dataset::{CIFAR10, FASHION_MNIST, KNOWN_DATASETS, KnownDataset, KnownFile, MNIST, Sha256Of};
pub use left_out::{LeftOut, LeftOutFiles, Reason};
pub use load::{Data, FolderOptions, LabelledFolder, Progress, Splits, load, load_labelled, load_with};
pub use loader::{DataLoader, LoadedBatch, MicroBatch, MicroBatches};
pub use normalize::standardizer;
pub use picture::read_picture;
pub use regulus_images::Picture;
pub use regulus_model::graph::Shape;
pub use regulus_model::preprocess::{Decoding, Normalizer, Preprocess};
pub use survey::Survey;
pub use transform::Transform;
