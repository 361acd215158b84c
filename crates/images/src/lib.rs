//! Image files as the bytes a network takes: decoded, turned as the camera says, resized, and with the channels it takes.
//!
//! [`Preprocess`](regulus_model::preprocess::Preprocess) says how.

mod error;
mod info;
mod jpeg;
mod picture;
mod resize;
mod whole_file;

pub use error::PictureError;
pub use info::ImageInfo;
pub use picture::Picture;
