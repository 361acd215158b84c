//! `regulus check`.

use std::collections::BTreeMap;

use regulus_model::graph::{Graph, Op, Parameter, Source};
use serde_json::{Value, json};

use super::args::CheckArgs;
use super::bar::Work;
use super::print;
use super::table::{grouped, table};
use super::train::frozen_features;
use crate::config::{ConfigTable, Experiment, Task};
use crate::error::Error;
use crate::launch::prepare;
use crate::network::Network;
use crate::numbers::byte_size;
use crate::search::Plan;
use crate::session::Session;

pub(super) fn check(args: &CheckArgs) -> Result<(), Error> {
    // The command line has a config unless it asks for the schema.
    let Some(config) = &args.config else { return print::out(format_args!("{:#}", Experiment::schema())) };
    let experiment = Experiment::load_changed(config, &args.unset, &args.set)?;
    if let Some(sweep) = &experiment.sweep {
        Plan::new(&ConfigTable::load(config, &args.unset, &args.set)?, sweep, None)?;
    }
    let written = |experiment: &Experiment| if args.comments { experiment.to_commented_toml() } else { experiment.to_toml() };
    if args.config_only {
        return if args.json { print::json(&experiment) } else { print::out(written(&experiment).trim_end()) };
    }
    let work = Work::begin("reading images");
    let session = prepare(experiment, &|done, total| work.reach(done, total))?;
    drop(work);
    session.warnings().iter().for_each(print::warning);
    session.notes().iter().for_each(print::note);
    if args.json { report_json(&session) } else { report(&written(session.experiment()), &session) }
}

fn report_json(session: &Session) -> Result<(), Error> {
    let (graph, penalties) = (session.graph(), session.penalties());
    let penalties: BTreeMap<&String, Vec<String>> = trained(graph).map(|name| (name, penalties.described(name))).collect();
    let nodes: Vec<Value> = Row::all(session.network())
        .map(|row| {
            json!({
                "name": row.name,
                "op": row.word,
                "output": row.output,
                "parameters": row.parameters,
                "multiplications": row.multiplications,
                "implementation": row.implementation,
            })
        })
        .collect();
    print::json(session.experiment())?;
    print::json(&json!({
        "nodes": nodes,
        "parameters": graph.parameter_count(),
        "trained_parameters": graph.trained_count(),
        "penalties": penalties,
        "keep": session.keep(),
        "memory": session.memory(),
        "decoded_images": session.data().decoded_bytes(),
        "is_streamed": session.data().is_streamed(),
        "warnings": session.warnings(),
        "notes": session.notes(),
    }))
}

/// Prints the experiment, written as `config`, and its network.
fn report(config: &str, session: &Session) -> Result<(), Error> {
    let (graph, penalties) = (session.graph(), session.penalties());
    let rows = Row::all(session.network()).map(|row| {
        let output = format!("{:?}", row.output);
        let [parameters, multiplications] = [row.parameters as u64, row.multiplications].map(grouped);
        vec![row.name.to_owned(), row.word.to_owned(), output, parameters, multiplications, row.implementation]
    });
    let total: u64 = (0..graph.nodes().len()).map(|index| graph.multiplications(index)).sum();
    let all = ["all".to_owned(), String::new(), String::new(), grouped(graph.parameter_count() as u64), grouped(total)];
    let header = ["node", "operation", "output", "parameters", "multiplications", "implementation"];
    let nodes = table(&header, rows.chain(std::iter::once(all.to_vec())));
    let described = |name: &String| match penalties.described(name) {
        terms if terms.is_empty() => "no penalty".to_owned(),
        terms => terms.join("; "),
    };
    let rates = session.experiment().optimizer.rates(graph)?;
    let rate = |name: &String| rates.get(name).map_or_else(String::new, |factor| format!("; learning rate times {factor}"));
    let assignments = trained(graph).map(|name| format!("{name}: {}{}", described(name), rate(name)));
    let memory = [String::new(), format!("memory for training: {}", session.memory())];
    let memory = memory.into_iter().chain(decoded(session)).chain(std::iter::once(String::new()));
    let comments: Vec<String> =
        nodes.lines().map(str::to_owned).chain(frozen(graph)).chain(frozen_features(session)).chain(memory).chain(assignments).collect();
    let comments: Vec<String> = comments.iter().map(|line| format!("# {line}").trim_end().to_owned()).collect();
    print::out(format_args!("{}\n\n{}", config.trim_end(), comments.join("\n")))
}

/// Where the decoded images are, if they are image files.
fn decoded(session: &Session) -> Option<String> {
    let (experiment, data) = (session.experiment(), session.data());
    let [decoded, limit] = [data.decoded_bytes(), experiment.data.memory()].map(byte_size);
    if data.is_streamed() {
        let batches = data.batches_ahead(experiment.train.samples_at_once(data.train.count()));
        let ahead = if batches == 1 { "1 batch".to_owned() } else { format!("{batches} batches") };
        let again = if session.features().is_some() { "once, for the frozen layers" } else { "again in each epoch" };
        return Some(format!("decoded images: {decoded}, more than the {limit} of `data.memory`: they are decoded {again}, {ahead} ahead"));
    }
    let is_limited = experiment.data.source.has_image_files() && experiment.task == Task::Classify;
    is_limited.then(|| format!("decoded images: {decoded} in memory, of the {limit} that `data.memory` allows"))
}

/// What is trained, where something is frozen.
fn frozen(graph: &Graph) -> Option<String> {
    let tensors = graph.frozen_parameters().count();
    let [trained, all] = [graph.trained_count(), graph.parameter_count()].map(|count| grouped(count as u64));
    (tensors > 0).then(|| format!("trained: {trained} of {all} parameters; {tensors} tensors are frozen"))
}

/// The names of the parameters that are trained.
fn trained(graph: &Graph) -> impl Iterator<Item = &String> {
    graph.parameters().filter(|parameter| parameter.is_trained()).map(|parameter| &parameter.name)
}

/// A line of the table of nodes.
struct Row<'a> {
    name: &'a str,
    word: &'static str,
    output: Vec<usize>,
    parameters: usize,
    multiplications: u64,
    /// `fused` for the first node of a kernel, `with NODE` for the others; `kernel` where it is in no run; `stock`. With `, bf16` where a convolution multiplies it.
    implementation: String,
}

impl<'a> Row<'a> {
    fn all(network: &'a Network) -> impl Iterator<Item = Self> {
        let graph = network.graph();
        let is_fused = network.implementation().is_fused();
        let mut implementations = vec![String::new(); graph.nodes().len()];
        for stage in network.stages() {
            for index in &stage.nodes {
                implementations[*index] = match stage.kind.is_fused() {
                    false if is_fused && has_kernel(&graph.nodes()[*index].op) => "kernel".to_owned(),
                    false => "stock".to_owned(),
                    true if *index == stage.first() => "fused".to_owned(),
                    true => format!("with {}", graph.nodes()[stage.first()].name),
                };
            }
            if network.is_rounded(stage) {
                implementations[stage.first()].push_str(", bf16");
            }
        }
        graph.nodes().iter().zip(implementations).enumerate().map(|(index, (node, implementation))| Self {
            name: &node.name,
            word: node.op.word(),
            output: graph.features_of(Source::Node(index)).dims(),
            parameters: graph.parameters_of(index).iter().filter(|parameter| parameter.role.is_trained()).map(Parameter::size).sum(),
            multiplications: graph.multiplications(index),
            implementation,
        })
    }
}

/// Whether a node that is in no run is computed by kernels of this program in training.
const fn has_kernel(op: &Op) -> bool {
    matches!(op, Op::Gelu(_) | Op::MaxPool(_) | Op::AveragePool(_) | Op::GlobalMaxPool(_) | Op::GlobalAveragePool(_))
}
