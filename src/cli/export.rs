//! `regulus export`.

use serde_json::json;

use super::args::{ExportArgs, FormatArg};
use super::evaluate::load;
use super::print;
use crate::error::Error;
use crate::export::{Format, export as write};

pub(super) fn export(args: &ExportArgs) -> Result<(), Error> {
    let (folder, trained) = load(&args.run)?;
    let format = match args.format {
        FormatArg::Safetensors => Format::Safetensors,
        FormatArg::Burnpack => Format::Burnpack,
    };
    let path = args.output.clone().unwrap_or_else(|| folder.path().join(format!("model.{}", format.extension())));
    write(&trained, format, &path)?;
    if args.json {
        return print::json(
            &json!({ "output": path.display().to_string(), "epoch": trained.position.epoch, "step": trained.position.step }),
        );
    }
    print::out(format_args!("wrote {} (weights after epoch {}, step {})", path.display(), trained.position.epoch, trained.position.step))
}
