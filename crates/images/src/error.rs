//! What can be wrong with an image file.

/// An image that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// A file that is no image, or too large for one.
    #[error("it {0}")]
    Content(String),
    /// An image that can't be decoded.
    #[error(transparent)]
    Image(#[from] image::ImageError),
    /// An image that can't be decoded, in words.
    #[error("{0}")]
    Damaged(String),
}
