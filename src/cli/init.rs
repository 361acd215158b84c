//! `regulus init`.

use std::path::Path;

use super::args::InitArgs;
use super::print;
use super::table::{counted, grouped};
use crate::atomic;
use crate::data::Survey;
use crate::error::Error;

/// Images are brought to at most so many pixels on their shorter side.
const SIDE: usize = 64;
/// A class of so many images has one held out by a fifth of them.
const ENOUGH: usize = 3;
/// With fewer training images than this, more epochs and a stronger penalty are a better start.
const FEW: usize = 5_000;

pub(super) fn init(args: &InitArgs) -> Result<(), Error> {
    let path = &args.output;
    if path.exists() {
        return Err(Error::Usage(format!("`{}` exists already; remove it, or choose another file with `--output`", path.display())));
    }
    let text = match &args.images {
        None => digits(),
        Some(dir) => {
            let survey = Survey::of(dir)?;
            tell(dir, &survey);
            own_images(dir, &survey)?
        }
    };
    let text = text.replace("FILE", &path.display().to_string());
    atomic::write(path, text.as_bytes())?;
    print::out(format_args!("wrote {0}; next: regulus check {0}, regulus train {0}", path.display()))
}

fn tell(dir: &Path, survey: &Survey) {
    let Survey { classes, class_counts, validation, test, height, width, is_grey, .. } = survey;
    let held = |count: &Option<usize>| count.map_or("no".to_owned(), |count| grouped(count as u64));
    print::note(format_args!(
        "{}: {} in {} classes, {} validation and {} test images; median {height}×{width} (height×width), {}",
        dir.display(),
        counted(class_counts.iter().sum::<usize>() as u64, "training image"),
        grouped(classes.len() as u64),
        held(validation),
        held(test),
        if *is_grey { "grey" } else { "colour" }
    ));
    survey.warnings.iter().for_each(print::warning);
    if !survey.left_out.is_empty() {
        print::warning(format_args!("not read: {}", survey.left_out));
    }
}

/// A config for the digits inside the program.
fn digits() -> String {
    let data = "source = \"mnist_mini\"         # 5,000 + 1,000 handwritten digits, inside the program; `regulus data list` has more\n\
                validation = 0.1              # the fraction of the training images that is held out";
    experiment("digits", data, "channels = [32, 64]", &Start { epochs: 10, lambda: "1.0", dropout: "0.0", augment: None })
}

/// A config for the images in `dir`.
fn own_images(dir: &Path, survey: &Survey) -> Result<String, Error> {
    let folder = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let name: String = folder.file_name().unwrap_or_default().to_string_lossy().chars().map(plain).collect();
    let name = if name.is_empty() { "own_images".to_owned() } else { name };
    let Some(written) = dir.to_str() else {
        return Err(Error::Usage(format!("`{}` is not UTF-8, which TOML can't hold; rename the folder", dir.display())));
    };
    let [height, width] = size(survey);
    let (way, why) = if survey.is_uniform {
        ("stretch", "all images have the same proportions")
    } else {
        ("crop", "the middle of each image; or \"pad\": all of it on black, \"stretch\": without its proportions")
    };
    let resize = format!("resize = \"{way}\"");
    let validation = match survey.validation {
        Some(count) => format!("validation = \"folder\"         # {count} images in a folder of their own"),
        None if survey.class_counts.iter().any(|count| *count >= ENOUGH) => {
            "validation = 0.2              # the fraction of the training images that is held out".to_owned()
        }
        None => "validation = 0                # there are too few images to hold some out".to_owned(),
    };
    let data = format!(
        "source = \"folder\"\ndir = {}\nimage_size = [{height}, {width}]         # height, width; images have {}×{}\n\
         image_channels = {}            # 1: grey, 3: colour\n{resize:29} # {why}\n\
         # damaged = \"skip\"            # leave damaged images out instead of refusing them\n{validation}\nnormalization = \"standard\"    # by mean and deviation of the training images",
        toml::Value::String(written.to_owned()),
        survey.height,
        survey.width,
        if survey.is_grey { 1 } else { 3 }
    );
    let model = match height.min(width) {
        ..10 => "kind = \"mlp\"                  # the images are too small for convolutions with pooling",
        10..24 => "channels = [32, 64]",
        _ => "channels = [32, 64, 64]       # output channels of each convolution",
    };
    let few = survey.class_counts.iter().sum::<usize>() < FEW;
    let start = Start {
        epochs: if few { 40 } else { 15 },
        lambda: if few { "1.0" } else { "0.1" },
        dropout: if few { "0.5" } else { "0.2" },
        augment: Some(height.min(width) / 16),
    };
    Ok(experiment(&name, &data, model, &start))
}

/// The size images are brought to: their own, or with a shorter side of [`SIDE`] pixels, in their proportions if all have the same.
fn size(survey: &Survey) -> [usize; 2] {
    let short = survey.height.min(survey.width);
    let side = short.min(SIDE);
    if survey.is_uniform { [survey.height, survey.width].map(|length| (length * side).div_ceil(short).min(4 * SIDE)) } else { [side, side] }
}

/// Where to start from.
struct Start {
    epochs: usize,
    lambda: &'static str,
    dropout: &'static str,
    /// The largest shift in pixels; none where nothing is suggested.
    augment: Option<usize>,
}

fn experiment(name: &str, data: &str, model: &str, start: &Start) -> String {
    let Start { epochs, lambda, dropout, augment } = start;
    let augment = augment.filter(|shift| *shift > 0).map_or(String::new(), |shift| {
        format!("\n[augment]\nshift = {shift}                     # training images are shifted by up to so many pixels\n# rotation = 10.0             # and turned by up to so many degrees\n")
    });
    format!(
        r#"# An experiment for `regulus train`. `regulus check` prints it with every default.

name = "{name}"
seed = 42

[data]
{data}

[model]
{model}
dropout = {dropout}

# loss = mean cross-entropy + lambda/(2m) · ‖w‖², m being the number of training images.
# Try lambda from 0.01 to 100 and keep the one with the lowest validation loss:
#   regulus train FILE --set penalty.0.lambda=10
[[penalty]]
kind = "l2"
lambda = {lambda}

[optimizer]
kind = "adam"
learning_rate = 0.001

[schedule]
kind = "cosine"               # the learning rate falls to 0 on half a cosine
{augment}
[train]
epochs = {epochs}
batch_size = 32
"#
    )
}
