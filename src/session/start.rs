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
    /// file or run.
    pub(super) fn new(
        experiment: &Experiment,
        graph: &Graph,
        device: &ComputeDevice,
        data: &Data,
        read: impl FnOnce(&Path) -> Result<Weights, Error>,
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
            Some(pretrained) => Ok(pretrained.load()?),
            None => read(path),
        };
        let started = weights.and_then(|weights| {
            let head = NewHead::of(experiment, graph, &weights);
            let network = Network::blank(graph, device).with_weights(&head.merged(&weights), path)?;
            let origin = weights.iter().filter(|(name, _)| !head.drawn.contains_key(*name));
            let origin = origin.map(|(name, values)| (name.clone(), values.clone())).collect();
            Ok(Self { network, origin: Some(origin), note: head.note })
        });
        started.map_err(|source| Error::InitialWeights(Box::new(source)))
    }
}

/// The head of a network that starts from weights with another number of classes.
struct NewHead {
    /// Its parameters. Empty where the weights have them.
    drawn: BTreeMap<String, Values>,
    note: Option<String>,
}

impl NewHead {
    fn of(experiment: &Experiment, graph: &Graph, weights: &Weights) -> Self {
        let none = Self { drawn: BTreeMap::new(), note: None };
        let Some(head) = graph.head() else { return none };
        let parameters = graph.parameters_of(head);
        let differs = |parameter: &&Parameter| weights.get(&parameter.name).is_some_and(|values| values.shape != parameter.shape);
        let Some(parameter) = parameters.iter().find(differs) else { return none };
        let found = weights.get(&parameter.name).map(|values| values.shape.clone()).unwrap_or_default();
        let note = format!(
            "layer `{}`, the last, starts anew: `{}` is {found:?} in the initial weights and {:?} here",
            graph.nodes()[head].name,
            parameter.name,
            parameter.shape
        );
        let (init, seed) = (experiment.model.initializer, experiment.seed);
        let drawn = parameters.iter().map(|parameter| (parameter.name.clone(), draw(init, parameter, seed))).collect();
        Self { drawn, note: Some(note) }
    }

    /// The weights with this head.
    fn merged(&self, weights: &Weights) -> Weights {
        weights.map(|name, values| self.drawn.get(name).unwrap_or(values).clone())
    }
}
