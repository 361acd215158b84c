//! A survey of a folder of images: sizes, colours and class counts, from which `regulus init` writes a config.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use regulus_images::ImageInfo;

use super::decode::images_of;
use super::left_out::LeftOut;
use super::{DataError, Decoding, Preprocess, Shape, folder, read_picture};
use crate::config::{Filter, Resize};

/// The number of images that are inspected.
const SAMPLE: usize = 200;

/// Statistics of a folder of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// The class names, in the order of the labels.
    pub classes: Vec<String>,
    /// The number of training images of each class, without inspected ones that can't be decoded.
    pub class_counts: Vec<usize>,
    /// The number of images in the validation folder, if it has any.
    pub validation: Option<usize>,
    /// The number of images in the test folder, if it has any.
    pub test: Option<usize>,
    /// The median height of the inspected images, in pixels.
    pub height: usize,
    /// The median width of the inspected images, in pixels.
    pub width: usize,
    /// Whether all inspected images have the same proportions, within 2 %.
    pub is_uniform: bool,
    /// Whether all inspected images are grey.
    pub is_grey: bool,
    /// Files and folders that are left out.
    pub left_out: LeftOut,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

impl Survey {
    /// Surveys the folder `dir`.
    ///
    /// # Errors
    ///
    /// When `dir` has no class folders, a class has no image, or no inspected image can be decoded.
    pub fn of(dir: &Path) -> Result<Self, DataError> {
        let listing = folder::list(dir)?;
        let mut left_out = listing.left_out.clone();
        let mut images = [const { None }; 3];
        for (index, split) in listing.splits.iter().enumerate() {
            let Some(split) = split else { continue };
            images[index] = Some(images_of(split, &listing.classes, index == 0, &mut left_out)?);
        }
        let [train, validation, test] = images;
        let mut by_class: Vec<Vec<PathBuf>> = vec![Vec::new(); listing.classes.len()];
        for (label, path) in train.unwrap_or_default() {
            by_class[label as usize].push(path);
        }
        let per_class = SAMPLE.div_ceil(by_class.len().max(1));
        let sample: Vec<&PathBuf> = by_class.iter().flat_map(|images| images.iter().take(per_class)).collect();
        let inspected: Vec<Option<ImageInfo>> = sample.par_iter().map(|path| inspect(path)).collect();
        let damaged: Vec<&PathBuf> = sample.iter().zip(&inspected).filter(|(_, info)| info.is_none()).map(|(path, _)| *path).collect();
        let properties: Vec<ImageInfo> = inspected.into_iter().flatten().collect();
        let median = |side: fn(&ImageInfo) -> u32| {
            let mut sides: Vec<u32> = properties.iter().map(side).collect();
            sides.sort_unstable();
            sides.get(sides.len() / 2).map(|side| *side as usize)
        };
        let (Some(height), Some(width)) = (median(|image| image.height), median(|image| image.width)) else {
            return Err(DataError::content(dir, "has no image that can be decoded among the first of each class"));
        };
        let proportion = width as f64 / height as f64;
        let has_proportion = |image: &ImageInfo| (f64::from(image.width) / f64::from(image.height) / proportion - 1.0).abs() <= 0.02;
        Ok(Self {
            class_counts: by_class.iter().map(|images| images.iter().filter(|path| !damaged.contains(path)).count()).collect(),
            validation: validation.as_ref().map(Vec::len).filter(|count| *count > 0),
            test: test.as_ref().map(Vec::len).filter(|count| *count > 0),
            height,
            width,
            is_uniform: properties.iter().all(has_proportion),
            is_grey: properties.iter().all(|image| image.is_grey),
            left_out,
            warnings: listing.warnings.into_iter().chain(damaged_images(&damaged, sample.len())).collect(),
            classes: listing.classes,
        })
    }
}

/// A warning about images that can't be decoded. `None` if there are none.
fn damaged_images(damaged: &[&PathBuf], inspected: usize) -> Option<String> {
    let first: Vec<String> = damaged.iter().take(3).map(|path| format!("`{}`", path.display())).collect();
    let more = if damaged.len() > 3 { ", …" } else { "" };
    (!damaged.is_empty()).then(|| {
        format!(
            "{} of {inspected} inspected images can't be decoded: {}{more}; remove them, or set `data.damaged` = \"skip\"",
            damaged.len(),
            first.join(", ")
        )
    })
}

/// The header of an image. `is_grey` is also set for colour images with grey pixels. Returns `None` if the image can't be decoded.
fn inspect(path: &Path) -> Option<ImageInfo> {
    let ImageInfo { height, width, is_grey } = ImageInfo::read(path)?;
    let is_grey = is_grey || {
        let shape = Shape { channels: 3, height: 16, width: 16 };
        let preprocess = Preprocess { shape, resize: Resize::Stretch, filter: Filter::Bilinear, decoding: Decoding::Reduced };
        let picture = read_picture(path, &preprocess, &mut Vec::new()).ok()?;
        let (red, rest) = picture.pixels.split_at(256);
        let (green, blue) = rest.split_at(256);
        red.iter().zip(green).zip(blue).all(|((red, green), blue)| red.abs_diff(*green) <= 2 && red.abs_diff(*blue) <= 2)
    };
    Some(ImageInfo { height, width, is_grey })
}
