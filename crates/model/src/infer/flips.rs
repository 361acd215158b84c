//! Test-time flips.

/// The mean of the logits of images and of their mirror images, left and right exchanged (Krizhevsky, Sutskever and Hinton 2012, section 4.1). `logits` computes
/// those of images `[channel, row, column]` with rows of `width` bytes, one image after the other.
pub fn mean_over_flips(images: &[&[u8]], width: usize, logits: impl Fn(&[&[u8]]) -> Vec<f32>) -> Vec<f32> {
    let mirrored: Vec<Vec<u8>> =
        images.iter().map(|image| image.chunks_exact(width).flat_map(|row| row.iter().rev().copied()).collect()).collect();
    let mirrored: Vec<&[u8]> = mirrored.iter().map(Vec::as_slice).collect();
    let mut mean = logits(images);
    mean.iter_mut().zip(logits(&mirrored)).for_each(|(mean, other)| *mean = 0.5 * (*mean + other));
    mean
}
