//! Batches of samples as tensors.

use burn::prelude::*;
use burn::tensor::TensorData;

use super::{Normalizer, Shape, Subset, Transform};

/// A batch on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[sample, channel, row, column]`, normalized.
    pub images: Tensor<4>,
    /// `[sample]`, the labels.
    pub labels: Tensor<1, Int>,
}

/// A batch in host memory.
#[derive(Clone, Debug)]
pub struct HostBatch {
    images: TensorData,
    labels: TensorData,
}

impl HostBatch {
    /// Copies the batch to a device.
    #[must_use]
    pub fn to_device(self, device: &Device) -> Batch {
        Batch { images: Tensor::from_data(self.images, device), labels: Tensor::from_data(self.labels, device) }
    }
}

/// Assembles normalized batches and copies them to a device.
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

    /// The device of the batches.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The batch of the samples of `subset` at `indices`, in this order.
    #[must_use]
    pub fn batch(&self, subset: &Subset, indices: &[u32]) -> Batch {
        self.assemble(subset, indices).to_device(&self.device)
    }

    /// Assembles the samples of `subset` at `indices` in host memory.
    #[must_use]
    pub fn assemble(&self, subset: &Subset, indices: &[u32]) -> HostBatch {
        self.assemble_transformed(subset, indices, |_| None)
    }

    /// As [`Batcher::assemble`], with `transform(index)` applied to the image of each index.
    pub fn assemble_transformed(&self, subset: &Subset, indices: &[u32], transform: impl Fn(u32) -> Option<Transform>) -> HostBatch {
        let labels: Vec<i32> = indices.iter().map(|index| subset.label(*index as usize).cast_signed()).collect();
        let images = indices.iter().map(|index| (subset.pixels(*index as usize), transform(*index)));
        HostBatch { images: self.values(subset.shape(), images), labels: TensorData::new(labels, [indices.len()]) }
    }

    /// Images of one shape as one normalized tensor `[image, channel, row, column]`.
    pub fn images<'a>(&self, shape: Shape, images: impl ExactSizeIterator<Item = &'a [u8]>) -> Tensor<4> {
        Tensor::from_data(self.values(shape, images.map(|image| (image, None))), &self.device)
    }

    fn values<'a>(&self, shape: Shape, images: impl ExactSizeIterator<Item = (&'a [u8], Option<Transform>)>) -> TensorData {
        let count = images.len();
        let area = shape.height * shape.width;
        let mut values = Vec::with_capacity(count * shape.size());
        for (image, transform) in images {
            for (plane, table) in image.chunks_exact(area).zip(&self.table) {
                match transform {
                    Some(transform) => transform.apply(plane, shape.width, table, &mut values),
                    None => values.extend(plane.iter().map(|pixel| table[usize::from(*pixel)])),
                }
            }
        }
        let Shape { channels, height, width } = shape;
        TensorData::new(values, [count, channels, height, width])
    }
}
