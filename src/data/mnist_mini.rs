//! The subset of MNIST in the program. `mnist_mini/NOTICE.md` states its origin and licence.

use std::path::Path;

use super::{DataError, Images, idx};

macro_rules! embedded {
    ($name:literal) => {
        ($name, include_bytes!(concat!("mnist_mini/", $name)).as_slice())
    };
}

/// 5,000 training and 1,000 test images of 28×28 pixels, with equal numbers of ten classes.
pub(super) fn load() -> Result<(Images, Images), DataError> {
    let train = pair(embedded!("train-images-idx3-ubyte.gz"), embedded!("train-labels-idx1-ubyte.gz"))?;
    let test = pair(embedded!("t10k-images-idx3-ubyte.gz"), embedded!("t10k-labels-idx1-ubyte.gz"))?;
    Ok((train, test))
}

fn pair(images: (&str, &[u8]), labels: (&str, &[u8])) -> Result<Images, DataError> {
    let (images, image_bytes) = (Path::new(images.0), images.1);
    let (labels, label_bytes) = (Path::new(labels.0), labels.1);
    idx::pair((images, idx::unpack(images, image_bytes)?), (labels, &idx::unpack(labels, label_bytes)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_digit_has_the_same_number_of_images() {
        let (train, test) = super::load().unwrap();
        for (images, each) in [(train, 500), (test, 100)] {
            for digit in 0..10 {
                assert_eq!(images.labels.iter().filter(|label| **label == digit).count(), each);
            }
            assert_eq!(images.pixels.len(), each * 10 * 28 * 28);
        }
    }
}
