//! `regulus init`.

use std::path::Path;

use super::args::InitArgs;
use super::print;
use super::table::{counted, grouped};
use crate::atomic;
use crate::data::Survey;
use crate::error::Error;

/// The largest shorter side of suggested image sizes, in pixels.
const SIDE: usize = 64;
/// The smallest class of which a validation fraction of 0.2 holds out an image.
const ENOUGH: usize = 3;
/// With fewer training images, more epochs and a stronger penalty are suggested.
const FEW: usize = 5_000;

pub(super) fn init(args: &InitArgs) -> Result<(), Error> {
    let path = &args.output;
    print::reserve("--output", Some(path), false)?;
    let is_file = !atomic::is_dash(path);
    if is_file && path.exists() {
        return Err(Error::Usage(format!("`{}` exists already; remove it, or choose another file with `--output`", path.display())));
    }
    let text = match &args.images {
        None => digits(),
        Some(dir) => {
            let survey = Survey::of(dir)?;
            report(dir, &survey);
            own_images(dir, &survey)?
        }
    };
    let name = if is_file { path.display().to_string() } else { "experiment.toml".to_owned() };
    atomic::write(path, text.replace("FILE", &name).as_bytes())?;
    if !is_file {
        return Ok(());
    }
    print::out(format_args!("wrote {0}; next: regulus check {0}, regulus train {0}", path.display()))
}

fn report(dir: &Path, survey: &Survey) {
    let Survey { classes, class_counts, validation, test, height, width, is_grey, .. } = survey;
    let number = |count: &Option<usize>| count.map_or("no".to_owned(), |count| grouped(count as u64));
    print::note(format_args!(
        "{}: {} in {} classes, {} validation and {} test images; median {height}×{width} (height×width), {}",
        dir.display(),
        counted(class_counts.iter().sum::<usize>() as u64, "training image"),
        grouped(classes.len() as u64),
        number(validation),
        number(test),
        if *is_grey { "grey" } else { "colour" }
    ));
    survey.warnings.iter().for_each(print::warning);
    if !survey.left_out.is_empty() {
        print::warning(format_args!("not read: {}", survey.left_out));
    }
}

/// A config for the built-in digits.
fn digits() -> String {
    let data = "source = \"mnist_mini\"         # 5,000 + 1,000 handwritten digits, built in; `regulus data list` has more\n\
                validation = 0.1              # the fraction of the training images for the validation split";
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
    let (mode, reason) = if survey.is_uniform {
        ("stretch", "all images have the same proportions")
    } else {
        ("crop", "the middle of each image; or \"pad\": all of it on black, \"stretch\": without its proportions")
    };
    let resize = format!("resize = \"{mode}\"");
    let validation = match survey.validation {
        Some(count) => format!("validation = \"folder\"         # {count} images in a validation folder"),
        None if survey.class_counts.iter().any(|count| *count >= ENOUGH) => {
            "validation = 0.2              # the fraction of the training images for the validation split".to_owned()
        }
        None => "validation = 0                # too few images for a validation split".to_owned(),
    };
    let data = format!(
        "source = \"folder\"\ndir = {}\nimage_size = [{height}, {width}]         # height, width; images have {}×{}\n\
         image_channels = {}            # 1: grey, 3: colour\n{resize:29} # {reason}\n\
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

/// The suggested image size. The shorter side is at most [`SIDE`] pixels. The proportions are kept if all images have the same.
fn size(survey: &Survey) -> [usize; 2] {
    let short = survey.height.min(survey.width);
    let side = short.min(SIDE);
    if survey.is_uniform { [survey.height, survey.width].map(|length| (length * side).div_ceil(short).min(4 * SIDE)) } else { [side, side] }
}

/// Suggested values.
struct Start {
    epochs: usize,
    lambda: &'static str,
    dropout: &'static str,
    /// The largest shift in pixels. `None`: no augmentation is suggested.
    augment: Option<usize>,
}

fn experiment(name: &str, data: &str, model: &str, start: &Start) -> String {
    let Start { epochs, lambda, dropout, augment } = start;
    let augment = augment.filter(|shift| *shift > 0).map_or(String::new(), |shift| {
        format!("\n[augment]\nshift = {shift}                     # the largest random shift of training images, in pixels\n# rotation = 10.0             # the largest random rotation, in degrees\n")
    });
    format!(
        r#"# An experiment for `regulus train`. `regulus check FILE --comments` prints it with every default, and what each key means.

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
