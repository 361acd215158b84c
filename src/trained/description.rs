//! What an exported file says of its network: all that is needed to use it.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::Resize;
use crate::data::{DataError, Decoding, Normalizer, Preprocess};
use crate::model::Architecture;
use crate::run::Manifest;

/// No network takes images of more pixels on a side.
const LARGEST_SIDE: usize = 1 << 14;

/// What a network is, how its input is made, and what its outputs mean. Exported files carry it in their metadata; `docs/formats.md` describes
/// every key.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The version of Regulus that trained it.
    pub version: String,
    /// Its sizes.
    pub architecture: Architecture,
    /// From an image to its input.
    pub preprocessing: Preprocessing,
    /// The names of its classes, in the order of its outputs.
    pub classes: Vec<String>,
}

/// From an image to the numbers a network sees: decoded, resized, and normalized channel by channel as (pixel/255 − mean) / deviation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Mean and deviation.
    #[serde(flatten)]
    pub normalizer: Normalizer,
    /// How an image of other proportions is brought to the network's size. Files of version 0.1.0 do not say: there was only `stretch`.
    #[serde(default)]
    pub resize: Resize,
    /// How JPEG files are decoded. Files of version 0.1.0 do not say: they were decoded in full size.
    #[serde(default)]
    pub decoding: Decoding,
    /// What else is done to an image file.
    #[serde(flatten)]
    pub steps: FileSteps,
}

/// What is done to an image file beside decoding and resizing. It is the same for every network of this version; a file says it for other programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileSteps {
    /// The filter that resizes: `triangle`, wider where an image is made smaller.
    pub filter: String,
    /// A grey pixel is this much of red, green and blue, as the file stores them (ITU-R BT.709).
    pub grey: [f64; 3],
    /// What lies behind transparent pixels: `white`.
    pub background: String,
    /// Whether a camera's orientation (EXIF) is applied.
    pub orientation: bool,
}

impl Default for FileSteps {
    fn default() -> Self {
        Self { filter: "triangle".to_owned(), grey: [0.2126, 0.7152, 0.0722], background: "white".to_owned(), orientation: true }
    }
}

impl From<&Manifest> for Description {
    fn from(manifest: &Manifest) -> Self {
        Self {
            version: manifest.version.clone(),
            architecture: manifest.architecture.clone(),
            preprocessing: Preprocessing {
                normalizer: manifest.normalizer.clone(),
                resize: manifest.resize,
                decoding: manifest.decoding,
                steps: FileSteps::default(),
            },
            classes: manifest.classes.clone(),
        }
    }
}

impl Description {
    /// The metadata of an exported file: `regulus_version` as it is, and `architecture`, `preprocessing` and `classes` as JSON.
    #[must_use]
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("regulus_version".to_owned(), self.version.clone()),
            ("architecture".to_owned(), json(&self.architecture)),
            ("preprocessing".to_owned(), json(&self.preprocessing)),
            ("classes".to_owned(), json(&self.classes)),
        ])
    }

    /// Reads the metadata of an exported file.
    ///
    /// # Errors
    ///
    /// What is wrong, in words, when a key is missing or damaged, or they do not fit together.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let description = Self {
            version: metadata.get("regulus_version").cloned().unwrap_or_default(),
            architecture: read(metadata, "architecture")?,
            preprocessing: read(metadata, "preprocessing")?,
            classes: read(metadata, "classes")?,
        };
        description.check().map(|()| description)
    }

    /// How an image file becomes the pixels of an input.
    ///
    /// # Errors
    ///
    /// When the network takes images that are neither grey nor colour.
    pub fn preprocess(&self) -> Result<Preprocess, DataError> {
        let shape = self.architecture.input;
        if matches!(shape.channels, 1 | 3) {
            return Ok(Preprocess { shape, resize: self.preprocessing.resize, decoding: self.preprocessing.decoding });
        }
        let message =
            format!("the network takes images of {} channels, which no image file gives; expected 1 (grey) or 3 (colour)", shape.channels);
        Err(DataError::Set(message))
    }

    /// Whether its parts fit together and this version can compute with them.
    fn check(&self) -> Result<(), String> {
        let Self { architecture, preprocessing, classes, .. } = self;
        let Preprocessing { normalizer, steps, .. } = preprocessing;
        let input = architecture.input;
        let sides = [input.height, input.width, architecture.kernel_size];
        if sides.iter().any(|side| !(1..=LARGEST_SIDE).contains(side)) || architecture.padding >= architecture.kernel_size {
            return Err("its architecture has a size out of range".to_owned());
        }
        if architecture.channels.contains(&0) || input.channels == 0 {
            return Err("its architecture has a layer of 0 channels".to_owned());
        }
        architecture.check().map_err(|(_, problem)| format!("its architecture {problem}"))?;
        if classes.len() != architecture.classes || classes.len() < 2 {
            return Err(format!("it names {} classes, but its network has {} outputs", classes.len(), architecture.classes));
        }
        let finite = normalizer.mean.iter().chain(&normalizer.deviation).all(|number| number.is_finite());
        let positive = normalizer.deviation.iter().all(|deviation| *deviation > 0.0);
        if [normalizer.mean.len(), normalizer.deviation.len()] != [input.channels; 2] || !finite || !positive {
            return Err("its preprocessing must have one finite mean and one deviation greater than 0 for each channel".to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(description.preprocessing.decoding, Decoding::Full);
        let again = Description::from_metadata(&description.to_metadata()).unwrap();
        assert_eq!(again, description);
    }

    #[test]
    fn metadata_that_does_not_fit_is_refused() {
        let wrong = |key: &str, value: &str| Description::from_metadata(&metadata(&[(key, value)])).unwrap_err();
        assert_eq!(wrong("classes", r#"["cat"]"#), "it names 1 classes, but its network has 2 outputs");
        assert!(wrong("preprocessing", r#"{"mean": [0.5], "deviation": [0]}"#).contains("greater than 0"));
        assert!(wrong("preprocessing", r#"{"mean": [0.5, 1], "deviation": [1, 1]}"#).contains("for each channel"));
        assert!(wrong("preprocessing", r#"{"mean": [0.5], "deviation": [1], "filter": "lanczos3"}"#).contains("does not know"));
        assert!(wrong("architecture", "{").contains("`architecture` of its metadata is damaged"));
        let sizes = |from: &str, to: &str| wrong("architecture", &metadata(&[])["architecture"].replace(from, to));
        for (from, to) in
            [("8,", "0,"), ("_size\": 3", "_size\": 0"), ("[2]", "[0]"), ("8,", "18446744073709551615,"), ("_size\": 3", "_size\": 9")]
        {
            assert!(sizes(from, to).starts_with("its architecture"), "{from} {to}");
        }
        assert_eq!(Description::from_metadata(&BTreeMap::new()).unwrap_err(), "its metadata has no `architecture`");
    }
}
