//! `regulus check`.

use super::args::CheckArgs;
use super::print;
use crate::backend;
use crate::config::Experiment;
use crate::data;
use crate::error::Error;
use crate::model::{Architecture, Cnn, Weights};

pub(super) fn check(args: &CheckArgs) -> Result<(), Error> {
    let experiment = Experiment::load(&args.config, &args.set)?;
    if !args.config_only {
        let opened = backend::open(&experiment.backend)?;
        let data = data::load(&experiment.data, experiment.seed)?;
        let architecture = Architecture::new(&experiment.model, data.train.shape(), data.classes.len())?;
        if let Some(path) = &experiment.model.init {
            Cnn::blank(&architecture, &opened.place).with_weights(&Weights::from_file(path)?, path)?;
        }
    }
    if args.json { print::json(&experiment) } else { print::out(experiment.to_toml().trim_end()) }
}
