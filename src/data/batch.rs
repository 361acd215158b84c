//! Batches of samples as tensors.

use std::borrow::Cow;
use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::TensorData;

use super::transform::PixelValues;
use super::{FrozenFeatures, Normalizer, Shape, Subset, Transform};

/// A batch on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[sample, channel, row, column]`, normalized; or the vectors of [`Batcher::with_features`].
    pub images: Tensor<4>,
    /// What the network is to give for them.
    pub targets: Targets,
}

/// What a network is to give for the samples of a batch.
#[derive(Clone, Debug)]
pub enum Targets {
    /// `[sample]`, the labels.
    Labels(Tensor<1, Int>),
    /// `[sample, channel, row, column]`, images.
    Images(Tensor<4>),
}

impl Targets {
    /// The labels, `[sample]`.
    ///
    /// # Panics
    ///
    /// When the targets are images.
    #[must_use]
    pub fn labels(self) -> Tensor<1, Int> {
        match self {
            Self::Labels(labels) => labels,
            Self::Images(images) => panic!("images {:?} where labels are expected", images.dims()),
        }
    }

    /// The images, `[sample, channel, row, column]`.
    ///
    /// # Panics
    ///
    /// When the targets are labels.
    #[must_use]
    pub fn images(self) -> Tensor<4> {
        match self {
            Self::Images(images) => images,
            Self::Labels(labels) => panic!("labels {:?} where images are expected", labels.dims()),
        }
    }

    /// The targets of the samples at `indices`, in this order.
    #[must_use]
    pub fn select(self, indices: Tensor<1, Int>) -> Self {
        match self {
            Self::Labels(labels) => Self::Labels(labels.select(0, indices)),
            Self::Images(images) => Self::Images(images.select(0, indices)),
        }
    }
}

/// A batch in host memory.
#[derive(Clone, Debug)]
pub struct HostBatch {
    /// `[sample, channel, row, column]`, normalized.
    pub images: TensorData,
    /// What the network is to give for them.
    pub targets: HostTargets,
}

/// [`Targets`] in host memory.
#[derive(Clone, Debug)]
pub enum HostTargets {
    /// The labels.
    Labels(TensorData),
    /// Images.
    Images(TensorData),
}

impl HostBatch {
    /// Copies the batch to a device.
    #[must_use]
    pub fn to_device(self, device: &Device) -> Batch {
        let targets = match self.targets {
            HostTargets::Labels(labels) => Targets::Labels(Tensor::from_data(labels, device)),
            HostTargets::Images(images) => Targets::Images(Tensor::from_data(images, device)),
        };
        Batch { images: Tensor::from_data(self.images, device), targets }
    }
}

/// Assembles normalized batches of labelled images and copies them to a device.
#[derive(Clone, Debug)]
pub struct Batcher {
    tables: Vec<[f32; 256]>,
    normalizer: Normalizer,
    features: Option<Arc<FrozenFeatures>>,
    device: Device,
}

impl Batcher {
    /// A batcher for images normalized by `normalizer`.
    #[must_use]
    pub fn new(normalizer: &Normalizer, device: &Device) -> Self {
        Self { tables: normalizer.table(), normalizer: normalizer.clone(), features: None, device: device.clone() }
    }

    /// The same, which gives the vectors of frozen layers in place of images that have no transform: `[sample, number, 1, 1]`.
    #[must_use]
    pub fn with_features(self, features: Option<Arc<FrozenFeatures>>) -> Self {
        Self { features, ..self }
    }

    /// The device of the batches.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The normalized value of every byte, channel by channel.
    #[must_use]
    pub fn tables(&self) -> &[[f32; 256]] {
        &self.tables
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

    /// As [`Batcher::assemble`], with `transform(index)` applied to the image of each index. It is called once for each, in this order.
    pub fn assemble_transformed(&self, subset: &Subset, indices: &[u32], transform: impl Fn(u32) -> Option<Transform>) -> HostBatch {
        let labels: Vec<i32> = indices.iter().map(|index| subset.label(*index as usize).cast_signed()).collect();
        let places: Vec<usize> = indices.iter().map(|index| *index as usize).collect();
        let labels = HostTargets::Labels(TensorData::new(labels, [indices.len()]));
        let images = match &self.features {
            None => {
                let images = subset.pixels_of_all(&places).into_iter().zip(indices).map(|(pixels, index)| (pixels, transform(*index)));
                self.values(subset.shape(), images)
            }
            Some(features) => TensorData::new(features.of_samples(subset, &places), [indices.len(), features.length(), 1, 1]),
        };
        HostBatch { images, targets: labels }
    }

    /// Images of one shape as one normalized tensor `[image, channel, row, column]`.
    pub fn images<'a>(&self, shape: Shape, images: impl ExactSizeIterator<Item = &'a [u8]>) -> Tensor<4> {
        Tensor::from_data(self.values(shape, images.map(|image| (Cow::Borrowed(image), None))), &self.device)
    }

    fn values<'a>(&self, shape: Shape, images: impl ExactSizeIterator<Item = (Cow<'a, [u8]>, Option<Transform>)>) -> TensorData {
        let count = images.len();
        let area = shape.height * shape.width;
        let mut values = Vec::with_capacity(count * shape.size());
        let pixels = PixelValues { tables: &self.tables, normalizer: &self.normalizer };
        for (image, transform) in images {
            if let Some(transform) = transform {
                transform.apply(&image, shape, pixels, &mut values);
                continue;
            }
            for (plane, table) in image.chunks_exact(area).zip(&self.tables) {
                values.extend(plane.iter().map(|pixel| table[usize::from(*pixel)]));
            }
        }
        let Shape { channels, height, width } = shape;
        TensorData::new(values, [count, channels, height, width])
    }
}
