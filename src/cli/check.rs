//! `regulus check`.

use std::collections::BTreeMap;

use serde_json::json;

use super::args::CheckArgs;
use super::print;
use crate::backend;
use crate::config::Experiment;
use crate::data;
use crate::error::Error;
use crate::model::{Architecture, Network, Parameter, Weights};
use crate::objective::Penalties;

pub(super) fn check(args: &CheckArgs) -> Result<(), Error> {
    let experiment = Experiment::load(&args.config, &args.set)?;
    let mut assignments: Vec<(String, Vec<String>)> = Vec::new();
    if !args.config_only {
        let opened = backend::open(&experiment.backend)?;
        let data = data::load(&experiment.data, experiment.seed)?;
        let architecture = Architecture::new(&experiment.model, data.train.shape(), data.classes.len())?;
        experiment.augment.check(architecture.input.height, architecture.input.width)?;
        let mut network = Network::blank(&architecture, &opened.place);
        if let Some(path) = &experiment.model.init {
            network = network.with_weights(&Weights::from_file(path)?, path)?;
        }
        let parameters = Parameter::of(&network);
        let penalties = Penalties::new(&experiment.penalty, &parameters, data.train.count())?;
        penalties.check_curvature(&architecture)?;
        if let Some(warning) = experiment.unreached(data.train.count()) {
            print::warning(&warning);
        }
        for Parameter { name, .. } in &parameters {
            assignments.push((name.clone(), penalties.told(name)));
        }
    }
    if args.json {
        print::json(&experiment)?;
        return if args.config_only {
            Ok(())
        } else {
            print::json(&json!({ "penalties": assignments.into_iter().collect::<BTreeMap<_, _>>() }))
        };
    }
    let told = |told: &[String]| if told.is_empty() { "no penalty".to_owned() } else { told.join("; ") };
    let lines: Vec<String> = assignments.iter().map(|(name, terms)| format!("\n# {name}: {}", told(terms))).collect();
    print::out(format_args!("{}{}", experiment.to_toml().trim_end(), lines.concat()))
}
