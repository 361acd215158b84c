//! The network that training starts from.

use std::collections::BTreeMap;
use std::path::Path;

use regulus_model::graph::{Graph, Parameter};
use regulus_model::{Values, Weights};

use crate::backend::ComputeDevice;
use crate::config::Experiment;
use crate::data::{Data, PretrainedWeights};
use crate::error::Error;
use crate::network::{Network, draw, whitening};

/// A network with its initial weights.
pub(super) struct Start {
    pub(super) network: Network,
    /// The weights it starts from, without those of a head that starts anew. `None` where all are drawn.
    pub(super) origin: Option<Weights>,
    /// Which layer starts anew.
    pub(super) note: Option<String>,
}

impl Start {
    /// The network of `experiment`, with drawn weights, of which `model.whiten` takes some from the images of `data`, or those of `model.init`. `read` reads a
    /// file or run, and the classes it was trained for, if they are known.
    pub(super) fn new(
        experiment: &Experiment,
        graph: &Graph,
        device: &ComputeDevice,
        data: &Data,
        read: impl FnOnce(&Path) -> Result<(Weights, Vec<String>), Error>,
    ) -> Result<Self, Error> {
        let Some(path) = &experiment.model.init else {
            let (init, seed) = (experiment.model.initializer, experiment.seed);
            let drawn: Weights = graph.parameters().map(|parameter| (parameter.name.clone(), draw(init, parameter, seed))).collect();
            let weights = match experiment.model.whitened(graph)? {
                Some(index) => whitening(graph, index, &data.train, &data.normalizer, &drawn),
                None => drawn,
            };
            let network = Network::of_weights(graph, &weights, device);
            return Ok(Self { network, origin: None, note: None });
        };
        let pretrained = PretrainedWeights::of(experiment.model.kind).filter(|_| experiment.model.starts_from_imagenet());
        // Their own messages say what to do.
        let weights = match pretrained {
            Some(pretrained) => Ok((pretrained.load()?, Vec::new())),
            None => read(path),
        };
        let started = weights.and_then(|(weights, classes)| {
            let head = NewHead::of(experiment, graph, &weights, other_classes(&classes, &data.classes));
            let network = Network::blank(graph, device).with_weights(&head.merged(&weights), path)?;
            let origin = weights.iter().filter(|(name, _)| !head.drawn.contains_key(*name));
            let origin = origin.map(|(name, values)| (name.clone(), values.clone())).collect();
            Ok(Self { network, origin: Some(origin), note: head.note })
        });
        started.map_err(|source| Error::InitialWeights(Box::new(source)))
    }
}

/// What is said of classes that the initial weights have and the data do not.
fn other_classes(of_weights: &[String], of_data: &[String]) -> Option<String> {
    let first = of_weights.iter().zip(of_data).find(|(one, other)| one != other);
    first.map(|(one, other)| format!("the initial weights have the class `{one}` where the data have `{other}`"))
}

/// The head of a network that starts from weights with other classes.
struct NewHead {
    /// Its parameters. Empty where the weights have them.
    drawn: BTreeMap<String, Values>,
    note: Option<String>,
}

impl NewHead {
    /// The head, if its shape differs in `weights`, or `other_classes` says that its classes do.
    fn of(experiment: &Experiment, graph: &Graph, weights: &Weights, other_classes: Option<String>) -> Self {
        let none = Self { drawn: BTreeMap::new(), note: None };
        let Some(head) = graph.head() else { return none };
        let parameters = graph.parameters_of(head);
        let differs = |parameter: &&Parameter| weights.get(&parameter.name).is_some_and(|values| values.shape != parameter.shape);
        let other_shape = parameters.iter().find(differs).map(|parameter| {
            let found = weights.get(&parameter.name).map(|values| values.shape.clone()).unwrap_or_default();
            format!("`{}` is {found:?} in the initial weights and {:?} here", parameter.name, parameter.shape)
        });
        let Some(reason) = other_shape.or(other_classes) else { return none };
        let note = format!("layer `{}`, the last, starts anew: {reason}", graph.nodes()[head].name);
        let (init, seed) = (experiment.model.initializer, experiment.seed);
        let drawn = parameters.iter().map(|parameter| (parameter.name.clone(), draw(init, parameter, seed))).collect();
        Self { drawn, note: Some(note) }
    }

    /// The weights with this head.
    fn merged(&self, weights: &Weights) -> Weights {
        weights.map(|name, values| self.drawn.get(name).unwrap_or(values).clone())
    }
}
