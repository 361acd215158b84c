//! The config that `regulus init --images` writes.

use std::path::Path;

use super::experiment_text::{Start, experiment};
use super::table::{counted, grouped};
use crate::data::{EFFICIENTNET_LITE0, Survey};
use crate::error::Error;

/// The largest shorter side of suggested image sizes for a network from scratch, in pixels.
const SIDE: usize = 64;
/// The sides for a network that starts from `ImageNet`: of small images, and of those at least as large as it was trained with.
const SIDES: [usize; 2] = [128, 224];
/// The smallest class of which a validation fraction of 0.2 holds out an image.
const ENOUGH: usize = 3;
/// With fewer training images a start from `ImageNet` is suggested, or more epochs and a stronger penalty.
const FEW: usize = 5_000;
/// Colour photographs have at least so many pixels on the shorter side; smaller images are icons or symbols.
const PHOTOGRAPH: usize = 24;
/// Classes are weighted if the largest has at least so many times the images of the smallest.
const IMBALANCED: usize = 2;

/// What the images call for.
pub(super) struct Advice {
    /// Whether the network should start from `ImageNet`.
    pub(super) from_imagenet: bool,
    /// Whether the weights for it are in the cache.
    pub(super) has_weights: bool,
    /// The largest and the smallest class, with their training images, if they differ much.
    imbalance: Option<[(String, usize); 2]>,
    count: usize,
}

impl Advice {
    /// For the images of a survey; `from_scratch` rules out a start from `ImageNet`.
    pub(super) fn new(survey: &Survey, from_scratch: bool) -> Self {
        let count = survey.class_counts.iter().sum();
        let is_photograph = !survey.is_grey && survey.height.min(survey.width) >= PHOTOGRAPH;
        let weights = EFFICIENTNET_LITE0.folder(None).map(|folder| EFFICIENTNET_LITE0.file(&folder));
        let named = || survey.classes.iter().cloned().zip(survey.class_counts.iter().copied());
        let (largest, smallest) = (named().rev().max_by_key(|(_, count)| *count), named().min_by_key(|(_, count)| *count));
        let imbalance = largest.zip(smallest).filter(|(largest, smallest)| largest.1 >= IMBALANCED * smallest.1);
        Self {
            from_imagenet: is_photograph && count < FEW && !from_scratch,
            has_weights: weights.is_ok_and(|file| file.is_file()),
            imbalance: imbalance.map(<[_; 2]>::from),
            count,
        }
    }

    /// What to know about the config. Returns `None` if there is nothing.
    pub(super) fn note(&self) -> Option<String> {
        (self.from_imagenet && !self.has_weights).then(|| {
            format!(
                "the config starts from the weights of ImageNet, which are not fetched yet: `regulus data fetch {}` (17 MB), or `regulus init --from-scratch`",
                EFFICIENTNET_LITE0.kind.name()
            )
        })
    }
}

/// A config for the images in `dir`.
pub(super) fn own_images(dir: &Path, survey: &Survey, advice: &Advice) -> Result<String, Error> {
    let folder = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let name: String = folder.file_name().unwrap_or_default().to_string_lossy().chars().map(plain).collect();
    let name = if name.is_empty() { "own_images".to_owned() } else { name };
    let Some(written) = dir.to_str() else {
        return Err(Error::Usage(format!("`{}` is not UTF-8, which TOML can't hold; rename the folder", dir.display())));
    };
    let has_validation = survey.validation.is_some() || survey.class_counts.iter().any(|count| *count >= ENOUGH);
    let data = data(&toml::Value::String(written.to_owned()), survey, advice);
    let train = balance(advice, has_validation);
    let count = advice.count;
    if advice.from_imagenet {
        let introduction = format!(
            "# {} of {} classes are too few to train all of a network. This network was trained on ImageNet, 1.28 million photographs;\n\
             # here only its last layer is trained. `regulus data fetch {}` gets the weights.\n\
             # docs/fine-tuning.md has what to try next, such as training all layers.\n",
            counted(count as u64, "colour image"),
            survey.classes.len(),
            EFFICIENTNET_LITE0.kind.name()
        );
        let model = "kind = \"efficientnet_lite0\"\n\
                     init = \"imagenet\"             # starts from its weights; pixels are normalized as they expect\n\
                     freeze = [\"*\"]                # all but the last layer, which is new";
        let start = Start {
            introduction: &introduction,
            model,
            lambda: "30.0",
            rate: ("0.003", "only one layer is trained, which can learn fast"),
            augment: "",
            epochs: "40",
            train: &train,
        };
        return Ok(experiment(&name, &data, &start));
    }
    let [height, width] = size(survey, advice);
    let is_few = count < FEW;
    let dropout = if is_few {
        "0.5                 # the fraction of the hidden units left out in a step; few images: more"
    } else {
        "0.2                 # the fraction of the hidden units left out in a step"
    };
    let model = match height.min(width) {
        ..10 => "kind = \"mlp\"                  # the images are too small for convolutions with pooling",
        10..24 => "channels = [32, 64]           # output channels of each convolution",
        _ => "channels = [32, 64, 64]       # output channels of each convolution",
    };
    let start = Start {
        introduction: "",
        model: &format!("{model}\ndropout = {dropout}"),
        lambda: if is_few { "1.0" } else { "0.1" },
        rate: ("0.001", ""),
        augment: &augment(height.min(width) / 16, survey.is_grey),
        epochs: if is_few { "40                   # few images: more epochs" } else { "15" },
        train: &train,
    };
    Ok(experiment(&name, &data, &start))
}

fn data(dir: &toml::Value, survey: &Survey, advice: &Advice) -> String {
    let [height, width] = size(survey, advice);
    let (mode, reason) = match (survey.is_uniform, advice.from_imagenet) {
        (true, false) => ("stretch", "all images have the same proportions"),
        (true, true) if survey.height == survey.width => ("stretch", "all images are square"),
        _ => ("crop", "the middle of each image; or \"pad\": all of it on black, \"stretch\": without its proportions"),
    };
    let resize = format!("resize = \"{mode}\"");
    let validation = match survey.validation {
        Some(count) => format!("validation = \"folder\"         # {count} images in a validation folder"),
        None if survey.class_counts.iter().any(|count| *count >= ENOUGH) => {
            "validation = 0.2              # the fraction of the training images for the validation split".to_owned()
        }
        None => "validation = 0                # too few images for a validation split".to_owned(),
    };
    let size_line = format!("image_size = [{height}, {width}]");
    let why = match (advice.from_imagenet, height) {
        (true, 224) => "; the network was trained with 224×224; [128, 128] takes a third of the time",
        (true, _) => "; the network was trained with 224×224",
        (false, _) => "",
    };
    let (channels, colour) = match (survey.is_grey, advice.from_imagenet) {
        (false, true) => (3, "colour, which the weights take"),
        (is_grey, _) => (if is_grey { 1 } else { 3 }, "1: grey, 3: colour"),
    };
    let normalization = if advice.from_imagenet {
        "\nfilter = \"bicubic\"            # sharper than \"bilinear\", above all where images are made larger"
    } else {
        "\nnormalization = \"standard\"    # by mean and deviation of the training images"
    };
    format!(
        "source = \"folder\"\ndir = {dir}\n{size_line:29} # height, width, in pixels; the images' median is {}×{}{why}\n\
         image_channels = {channels}            # {colour}\n{resize:29} # {reason}\n\
         # damaged = \"skip\"            # leave damaged images out instead of refusing them\n{validation}{normalization}",
        survey.height, survey.width,
    )
}

/// Class weights and the measure of the best epoch, where the classes differ in size.
fn balance(advice: &Advice, has_validation: bool) -> String {
    let Some([largest, smallest]) = &advice.imbalance else { return String::new() };
    let (large, small) = (grouped(largest.1 as u64), grouped(smallest.1 as u64));
    let mut text = format!(
        "class_weights = \"balanced\"    # `{}` has {large} images, `{}` only {small}: each class counts the same\n",
        one_line(&largest.0),
        one_line(&smallest.0)
    );
    if has_validation {
        text.push_str("best_by = \"balanced_accuracy\" # keeps the epoch with the highest mean recall of the classes\n");
    }
    text
}

/// A class name in a comment.
fn one_line(name: &str) -> String {
    super::table::one_line(name)
}

fn augment(shift: usize, is_grey: bool) -> String {
    if shift == 0 {
        return String::new();
    }
    let flip = if is_grey {
        "# flip = \"horizontal\"         # if a mirror image is of the same class, which letters and digits are not"
    } else {
        "flip = \"horizontal\"           # mirror images; leave it out where left and right matter"
    };
    format!(
        "\n[augment]\nshift = {shift}                     # the largest random shift of training images, in pixels\n{flip}\n# rotation = 10.0             # the largest random rotation, in degrees\n"
    )
}

/// The suggested image size. From `ImageNet` a square. Else the shorter side is at most [`SIDE`] pixels, and the proportions are kept if all images have the same.
fn size(survey: &Survey, advice: &Advice) -> [usize; 2] {
    let short = survey.height.min(survey.width);
    if advice.from_imagenet {
        let [small, large] = SIDES;
        return [if short >= large { large } else { small }; 2];
    }
    let side = short.min(SIDE);
    if survey.is_uniform { [survey.height, survey.width].map(|length| (length * side).div_ceil(short).min(4 * SIDE)) } else { [side, side] }
}
