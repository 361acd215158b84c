//! Samples as tensors.

use burn::prelude::*;
use burn::tensor::TensorData;

use super::{Normalizer, Placement, Shape, Subset};

/// Samples as a network takes them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[sample, channel, row, column]`, normalized.
    pub images: Tensor<4>,
    /// `[sample]`, the classes.
    pub labels: Tensor<1, Int>,
}

/// A batch that is not yet on a device.
#[derive(Clone, Debug)]
pub struct Assembled {
    images: TensorData,
    labels: TensorData,
}

/// Makes batches on a device.
#[derive(Clone, Debug)]
pub struct Batcher {
    table: Vec<[f32; 256]>,
    device: Device,
}

impl Batcher {
    /// A batcher for images normalized by `normalizer`.
    #[must_use]
    pub fn new(normalizer: &Normalizer, device: &Device) -> Self {
        Self { table: normalizer.table(), device: device.clone() }
    }

    /// The device its tensors are on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The samples of `part` at `indices`, in that order.
    #[must_use]
    pub fn batch(&self, part: &Subset, indices: &[u32]) -> Batch {
        self.tensors(self.assemble(part, indices))
    }

    /// The numbers of the samples of `part` at `indices`.
    #[must_use]
    pub fn assemble(&self, part: &Subset, indices: &[u32]) -> Assembled {
        self.assemble_placed(part, indices, |_| None)
    }

    /// The numbers of the samples of `part` at `indices`, each changed as `placement` of its index says.
    pub fn assemble_placed(&self, part: &Subset, indices: &[u32], placement: impl Fn(u32) -> Option<Placement>) -> Assembled {
        let labels: Vec<i32> = indices.iter().map(|index| part.label(*index as usize).cast_signed()).collect();
        let images = indices.iter().map(|index| (part.pixels(*index as usize), placement(*index)));
        Assembled { images: self.numbers(part.shape(), images), labels: TensorData::new(labels, [indices.len()]) }
    }

    /// A batch on the device.
    #[must_use]
    pub fn tensors(&self, assembled: Assembled) -> Batch {
        let Assembled { images, labels } = assembled;
        Batch { images: Tensor::from_data(images, &self.device), labels: Tensor::from_data(labels, &self.device) }
    }

    /// Images of one shape, given as bytes, as one tensor `[image, channel, row, column]`.
    pub fn images<'a>(&self, shape: Shape, images: impl ExactSizeIterator<Item = &'a [u8]>) -> Tensor<4> {
        Tensor::from_data(self.numbers(shape, images.map(|image| (image, None))), &self.device)
    }

    fn numbers<'a>(&self, shape: Shape, images: impl ExactSizeIterator<Item = (&'a [u8], Option<Placement>)>) -> TensorData {
        let count = images.len();
        let area = shape.height * shape.width;
        let mut values = Vec::with_capacity(count * shape.size());
        for (image, placement) in images {
            for (plane, table) in image.chunks_exact(area).zip(&self.table) {
                match placement {
                    Some(placement) => placement.put(plane, shape.width, table, &mut values),
                    None => values.extend(plane.iter().map(|pixel| table[usize::from(*pixel)])),
                }
            }
        }
        let Shape { channels, height, width } = shape;
        TensorData::new(values, [count, channels, height, width])
    }
}
