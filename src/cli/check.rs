//! `regulus check`.

use std::collections::BTreeMap;

use serde_json::json;

use super::args::CheckArgs;
use super::bar::Work;
use super::print;
use crate::config::Experiment;
use crate::error::Error;
use crate::launch::prepare;
use crate::model::Parameter;

pub(super) fn check(args: &CheckArgs) -> Result<(), Error> {
    let experiment = Experiment::load_changed(&args.config, &args.unset, &args.set)?;
    if args.config_only {
        return if args.json { print::json(&experiment) } else { print::out(experiment.to_toml().trim_end()) };
    }
    let work = Work::begin("reading images");
    let prepared = prepare(experiment, &|done, total| work.reach(done, total))?;
    drop(work);
    prepared.warnings.iter().for_each(print::warning);
    let assignments: Vec<(String, Vec<String>)> =
        Parameter::of(&prepared.network).into_iter().map(|Parameter { name, .. }| (name.clone(), prepared.penalties.told(&name))).collect();
    if args.json {
        print::json(&prepared.experiment)?;
        let penalties: BTreeMap<_, _> = assignments.into_iter().collect();
        return print::json(&json!({ "penalties": penalties, "keep": prepared.keep, "warnings": prepared.warnings }));
    }
    let told = |told: &[String]| if told.is_empty() { "no penalty".to_owned() } else { told.join("; ") };
    let lines: Vec<String> = assignments.iter().map(|(name, terms)| format!("\n# {name}: {}", told(terms))).collect();
    print::out(format_args!("{}{}", prepared.experiment.to_toml().trim_end(), lines.concat()))
}
