//! A look at a folder of images, to fit a config to it.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use regulus_images::ImageInfo;

use super::decode::images_of;
use super::left_out::LeftOut;
use super::{DataError, Decoding, Preprocess, Shape, folder, read_picture};
use crate::config::Resize;

/// Images whose size and colour are looked at.
const SAMPLE: usize = 200;

/// What is in a folder of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// The class names in the order of their labels.
    pub classes: Vec<String>,
    /// Training images of each class.
    pub class_counts: Vec<usize>,
    /// Images of a validation folder, if there is one.
    pub validation: Option<usize>,
    /// Images of a test folder, if there is one.
    pub test: Option<usize>,
    /// The median height and width of a sample of the training images, in pixels.
    pub height: usize,
    /// The median width.
    pub width: usize,
    /// Whether all of the sample have the same proportions, within 2 %.
    pub is_uniform: bool,
    /// Whether all of the sample are grey.
    pub is_grey: bool,
    /// What is not read.
    pub left_out: LeftOut,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Survey {
    /// Looks at the folder `dir`.
    ///
    /// # Errors
    ///
    /// When it has no class folders, a class has no image, or none of the sample can be decoded.
    pub fn of(dir: &Path) -> Result<Self, DataError> {
        let listing = folder::list(dir)?;
        let mut left_out = listing.left_out.clone();
        let mut images = [const { None }; 3];
        for (place, split) in listing.splits.iter().enumerate() {
            let Some(split) = split else { continue };
            images[place] = Some(images_of(split, &listing.classes, place == 0, &mut left_out)?);
        }
        let [train, validation, test] = images;
        let mut by_class: Vec<Vec<PathBuf>> = vec![Vec::new(); listing.classes.len()];
        for (label, path) in train.unwrap_or_default() {
            by_class[label as usize].push(path);
        }
        let per_class = SAMPLE.div_ceil(by_class.len().max(1));
        let sample: Vec<&PathBuf> = by_class.iter().flat_map(|images| images.iter().take(per_class)).collect();
        let looks: Vec<(u32, u32, bool)> = sample.par_iter().filter_map(|path| look(path)).collect();
        let median = |side: fn(&(u32, u32, bool)) -> u32| {
            let mut sides: Vec<u32> = looks.iter().map(side).collect();
            sides.sort_unstable();
            sides.get(sides.len() / 2).map(|side| *side as usize)
        };
        let (Some(height), Some(width)) = (median(|look| look.0), median(|look| look.1)) else {
            return Err(DataError::content(dir, "has no image that can be decoded among the first of each class"));
        };
        let proportion = width as f64 / height as f64;
        let is_alike = |(height, width, _): &(u32, u32, bool)| (f64::from(*width) / f64::from(*height) / proportion - 1.0).abs() <= 0.02;
        Ok(Self {
            class_counts: by_class.iter().map(Vec::len).collect(),
            validation: validation.as_ref().map(Vec::len),
            test: test.as_ref().map(Vec::len),
            height,
            width,
            is_uniform: looks.iter().all(is_alike),
            is_grey: looks.iter().all(|(.., is_grey)| *is_grey),
            left_out,
            warnings: listing.warnings,
            classes: listing.classes,
        })
    }
}

/// Height, width, and whether an image is grey, also where it is stored in colour; returns `None` when it can't be decoded.
fn look(path: &Path) -> Option<(u32, u32, bool)> {
    let ImageInfo { height, width, is_grey } = ImageInfo::read(path)?;
    let is_grey = is_grey || {
        let shape = Shape { channels: 3, height: 16, width: 16 };
        let preprocess = Preprocess { shape, resize: Resize::Stretch, decoding: Decoding::Reduced };
        let picture = read_picture(path, &preprocess, &mut Vec::new()).ok()?;
        let (red, rest) = picture.pixels.split_at(256);
        let (green, blue) = rest.split_at(256);
        red.iter().zip(green).zip(blue).all(|((red, green), blue)| red.abs_diff(*green) <= 2 && red.abs_diff(*blue) <= 2)
    };
    Some((height, width, is_grey))
}
