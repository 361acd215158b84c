//! `regulus init`.

use std::path::Path;

use super::args::InitArgs;
use super::experiment_text::{Start, experiment};
use super::own_images::{Advice, own_images};
use super::print;
use super::table::{counted, grouped};
use crate::atomic;
use crate::data::{DataError, Survey};
use crate::error::Error;

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
            if !dir.exists() {
                let hint = "expected a folder with one subfolder of images for each class".to_owned();
                return Err(DataError::Missing { path: dir.clone(), hint }.into());
            }
            let survey = Survey::of(dir)?;
            report(dir, &survey);
            let advice = Advice::new(&survey, args.from_scratch);
            let text = own_images(dir, &survey, &advice)?;
            advice.note().iter().for_each(print::note);
            text
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
    let model = "channels = [32, 64]           # output channels of each convolution";
    experiment("digits", data, &Start { introduction: "", model, lambda: "1.0", rate: ("0.001", ""), augment: "", epochs: "10", train: "" })
}
