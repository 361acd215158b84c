//! `regulus predict`.

use super::args::PredictArgs;
use super::evaluate::load;
use super::print;
use super::table::percent;
use crate::error::Error;
use crate::predict::predict as predict_one;

pub(super) fn predict(args: &PredictArgs) -> Result<(), Error> {
    let (_, trained) = load(&args.run, None)?;
    for image in &args.images {
        let prediction = predict_one(&trained, image, args.top as usize, args.invert)?;
        if args.json {
            print::json(&prediction)?;
            continue;
        }
        let classes: Vec<String> =
            prediction.classes.iter().map(|class| format!("{} {}", class.class, percent(class.probability))).collect();
        print::out(format_args!("{}: {}", image.display(), classes.join(", ")))?;
    }
    Ok(())
}
