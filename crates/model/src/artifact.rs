//! A trained network in one file, with all that is needed to use it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::graph::{Features, Graph};
use crate::networks::graph_of;
use crate::preprocess::{FileSteps, Preprocess, Preprocessing};
use crate::{ModelError, Weights};

/// What a network was trained for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Task {
    /// To tell classes apart: it gives a logit for each.
    #[default]
    Classify,
    /// To remove noise from pictures: it gives a picture of the same shape.
    Denoise {
        /// The standard deviation of the Gaussian noise it was trained with, on pixels from 0 to 255.
        sigma: f64,
    },
}

/// What a network is, how its input is made, and what its outputs mean. Exported files carry it in their metadata; `docs/formats.md` describes
/// every key.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The version of Regulus that trained it.
    pub version: String,
    /// The network.
    pub graph: Graph,
    /// From an image to its input.
    pub preprocessing: Preprocessing,
    /// The names of its classes, in the order of its outputs; none where it gives images.
    pub classes: Vec<String>,
    /// What it was trained for.
    pub task: Task,
}

/// A trained network in one file: what it is, and its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// What it is.
    pub description: Description,
    /// Its weights.
    pub weights: Weights,
}

impl Description {
    /// The metadata of an exported file: `regulus_version` as it is, and `graph`, `preprocessing`, `classes` and, unless it is a classifier, `task` as JSON.
    #[must_use]
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            ("regulus_version".to_owned(), self.version.clone()),
            ("graph".to_owned(), json(&self.graph)),
            ("preprocessing".to_owned(), json(&self.preprocessing)),
            ("classes".to_owned(), json(&self.classes)),
        ]);
        if self.task != Task::Classify {
            metadata.insert("task".to_owned(), json(&self.task));
        }
        metadata
    }

    /// Reads the metadata of an exported file.
    ///
    /// # Errors
    ///
    /// What is wrong, in words, when a key is missing or damaged, or they do not fit together.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let description = Self {
            version: metadata.get("regulus_version").cloned().unwrap_or_default(),
            graph: Self::read_graph(metadata)?,
            preprocessing: read(metadata, "preprocessing")?,
            classes: read(metadata, "classes")?,
            task: if metadata.contains_key("task") { read(metadata, "task")? } else { Task::default() },
        };
        description.check().map(|()| description)
    }

    /// The graph; files of version 0.1.0 describe it under another key.
    fn read_graph(metadata: &BTreeMap<String, String>) -> Result<Graph, String> {
        let key = if metadata.contains_key("architecture") { "architecture" } else { "graph" };
        graph_of(read(metadata, key)?).map_err(|error| format!("`{key}` of its metadata can't be used: {error}"))
    }

    /// How an image file becomes the pixels of an input.
    ///
    /// # Errors
    ///
    /// In words, when the network takes images that are neither grey nor colour.
    pub fn preprocess(&self) -> Result<Preprocess, String> {
        let shape = self.graph.input();
        if matches!(shape.channels, 1 | 3) {
            let Preprocessing { resize, filter, decoding, .. } = self.preprocessing;
            return Ok(Preprocess { shape, resize, filter, decoding });
        }
        Err(format!("the network takes images of {} channels, which no image file gives; expected 1 (grey) or 3 (colour)", shape.channels))
    }

    /// Whether its parts fit together and this version can compute with them.
    fn check(&self) -> Result<(), String> {
        let Self { graph, preprocessing, classes, task, .. } = self;
        let Preprocessing { normalizer, steps, .. } = preprocessing;
        let output = graph.output_features();
        match task {
            Task::Classify if output != Features::Vector(classes.len()) || classes.len() < 2 => {
                return Err(format!("it names {} classes, but its network gives {output}", classes.len()));
            }
            Task::Denoise { .. } if output != Features::Map(graph.input()) || !classes.is_empty() => {
                return Err(format!(
                    "its task is to denoise pictures, but it names {} classes and its network gives {output}",
                    classes.len()
                ));
            }
            Task::Denoise { sigma } if !sigma.is_finite() || *sigma <= 0.0 => {
                return Err(format!("its `sigma` is {sigma}; expected a finite number > 0"));
            }
            Task::Denoise { .. } if !normalizer.is_unit() => {
                return Err("its task is to denoise pictures, which needs a mean of 0 and a deviation of 1 in its preprocessing".to_owned());
            }
            Task::Denoise { .. } if !preprocessing.views().is_image() => {
                return Err("its task is to denoise pictures, which has no `test_flip` or `test_shift` in its preprocessing".to_owned());
            }
            _ => {}
        }
        let finite = normalizer.mean.iter().chain(&normalizer.deviation).all(|number| number.is_finite());
        let positive = normalizer.deviation.iter().all(|deviation| *deviation > 0.0);
        if [normalizer.mean.len(), normalizer.deviation.len()] != [graph.input().channels; 2] || !finite || !positive {
            return Err("its preprocessing must have one finite mean and one deviation greater than 0 for each channel".to_owned());
        }
        let (shift, side) = (preprocessing.test_shift, graph.input().height.min(graph.input().width));
        if shift > 0 && shift as usize >= side {
            return Err(format!(
                "its preprocessing has a `test_shift` of {shift}, but its images have sides from {side} pixels; expected less"
            ));
        }
        if *steps != FileSteps::default() {
            return Err("its preprocessing decodes images in a way this version does not know; use the version that wrote it".to_owned());
        }
        Ok(())
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}"))
}

fn read<T: DeserializeOwned>(metadata: &BTreeMap<String, String>, key: &str) -> Result<T, String> {
    let text = metadata.get(key).ok_or_else(|| format!("its metadata has no `{key}`"))?;
    serde_json::from_str(text).map_err(|error| format!("`{key}` of its metadata is damaged: {error}"))
}

impl Artifact {
    /// Reads a safetensors file that `regulus export` has written.
    ///
    /// # Errors
    ///
    /// When it can't be read, is damaged, or its metadata do not say how to use it.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(path, &bytes)
    }

    /// As [`open`](Self::open), from the content of the file; `path` is for the message.
    ///
    /// # Errors
    ///
    /// When it is damaged, or its metadata do not say how to use it.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let (weights, metadata) = Weights::with_metadata(path, bytes)?;
        let description =
            Description::from_metadata(&metadata).map_err(|problem| ModelError::Metadata { path: path.to_owned(), problem })?;
        weights.check_fit(&description.graph, path)?;
        Ok(Self { description, weights })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::networks::DnCnn;
    use crate::preprocess::{Decoding, Filter, Resize};

    fn metadata(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
        let whole = [
            (
                "architecture",
                r#"{"kind": "cnn", "input": {"channels": 1, "height": 8, "width": 8}, "channels": [2], "kernel_size": 3, "hidden": 4, "classes": 2}"#,
            ),
            ("preprocessing", r#"{"mean": [0.5], "deviation": [0.25]}"#),
            ("classes", r#"["cat", "dog"]"#),
        ];
        whole.iter().chain(changes).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn metadata_of_version_0_1_0_is_read() {
        let description = Description::from_metadata(&metadata(&[])).unwrap();
        assert_eq!(description.preprocessing.resize, Resize::Stretch);
        assert_eq!((description.preprocessing.filter, description.preprocessing.decoding), (Filter::Bilinear, Decoding::Full));
        assert!(description.preprocessing.views().is_image());
        let named = |filter: &str| {
            let preprocessing = format!(r#"{{"mean": [0.5], "deviation": [0.25], "filter": "{filter}"}}"#);
            Description::from_metadata(&metadata(&[("preprocessing", &preprocessing)])).unwrap().preprocessing.filter
        };
        assert_eq!(["triangle", "bilinear", "bicubic"].map(named), [Filter::Bilinear, Filter::Bilinear, Filter::Bicubic]);
        let again = Description::from_metadata(&description.to_metadata()).unwrap();
        assert_eq!(again, description);
    }

    #[test]
    fn a_denoising_network_has_no_classes() {
        let graph = DnCnn { depth: 3, width: 4 }.graph(Shape { channels: 1, height: 40, width: 40 }).unwrap();
        let task = r#"{"kind":"denoise","sigma":25.0}"#;
        let mut denoising = metadata(&[
            ("graph", &json(&graph)),
            ("classes", "[]"),
            ("task", task),
            ("preprocessing", r#"{"mean": [0.0], "deviation": [1.0]}"#),
        ]);
        denoising.remove("architecture");
        let description = Description::from_metadata(&denoising).unwrap();
        assert_eq!((&description.graph, description.task), (&graph, Task::Denoise { sigma: 25.0 }));
        assert_eq!(description.to_metadata()["task"], task);
        let mut refused = |key: &str, value: &str| {
            let before = denoising.insert(key.to_owned(), value.to_owned()).unwrap();
            let error = Description::from_metadata(&denoising).unwrap_err();
            denoising.insert(key.to_owned(), before);
            error
        };
        assert_eq!(
            refused("classes", r#"["cat", "dog"]"#),
            "its task is to denoise pictures, but it names 2 classes and its network gives [1, 40, 40]"
        );
        assert!(refused("task", r#"{"kind":"denoise","sigma":-1}"#).contains("`sigma` is -1"));
        assert!(refused("task", r#"{"kind":"segment"}"#).starts_with("`task` of its metadata is damaged: unknown variant `segment`"));
        assert!(refused("preprocessing", r#"{"mean": [0.5], "deviation": [1.0]}"#).contains("needs a mean of 0"));
        for view in [r#""test_flip": true"#, r#""test_shift": 1"#] {
            let preprocessing = format!(r#"{{"mean": [0.0], "deviation": [1.0], {view}}}"#);
            assert!(refused("preprocessing", &preprocessing).contains("has no `test_flip` or `test_shift`"));
        }
        denoising.remove("task");
        assert_eq!(Description::from_metadata(&denoising).unwrap_err(), "it names 0 classes, but its network gives [1, 40, 40]");
    }

    #[test]
    fn metadata_that_does_not_fit_is_refused() {
        let wrong = |key: &str, value: &str| Description::from_metadata(&metadata(&[(key, value)])).unwrap_err();
        assert_eq!(wrong("classes", r#"["cat"]"#), "it names 1 classes, but its network gives [2]");
        assert!(wrong("preprocessing", r#"{"mean": [0.5], "deviation": [0]}"#).contains("greater than 0"));
        assert!(wrong("preprocessing", r#"{"mean": [0.5, 1], "deviation": [1, 1]}"#).contains("for each channel"));
        assert!(wrong("preprocessing", r#"{"mean": [0.5], "deviation": [1], "background": "grey"}"#).contains("does not know"));
        assert!(
            wrong("preprocessing", r#"{"mean": [0.5], "deviation": [1], "filter": "lanczos3"}"#).contains("unknown variant `lanczos3`")
        );
        assert!(wrong("architecture", "{").contains("`architecture` of its metadata is damaged"));
        let sizes = |from: &str, to: &str| wrong("architecture", &metadata(&[])["architecture"].replace(from, to));
        for (from, to) in
            [("8,", "0,"), ("_size\": 3", "_size\": 0"), ("[2]", "[0]"), ("8,", "18446744073709551615,"), ("_size\": 3", "_size\": 9")]
        {
            assert!(sizes(from, to).starts_with("`architecture` of its metadata can't be used"), "{from} {to}");
        }
        let graph = Description::from_metadata(&metadata(&[])).unwrap().to_metadata()["graph"].clone();
        let mut newer = metadata(&[("graph", &graph.replace("\"groups\":1", "\"groups\":1,\"dilation\":2"))]);
        newer.remove("architecture");
        let refused = Description::from_metadata(&newer).unwrap_err();
        assert!(refused.contains("unknown field `dilation`"), "{refused}");
        assert_eq!(Description::from_metadata(&BTreeMap::new()).unwrap_err(), "its metadata has no `graph`");
    }
}
