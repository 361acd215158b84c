//! Safetensors: float32 tensors under PyTorch's names and layouts, with the rest in the metadata as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::trained::Trained;

/// The file's content. Its metadata has the keys `format` (`"pt"`, which PyTorch tools look for), `regulus_version`, `architecture`,
/// `preprocessing` and `classes`; the last three are JSON.
pub(super) fn bytes(trained: &Trained) -> Vec<u8> {
    let manifest = &trained.manifest;
    let metadata = BTreeMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("regulus_version".to_owned(), manifest.version.clone()),
        ("architecture".to_owned(), json(&manifest.architecture)),
        ("preprocessing".to_owned(), json(&manifest.normalizer)),
        ("classes".to_owned(), json(&manifest.classes)),
    ]);
    trained.weights.to_safetensors(&metadata)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| unreachable!("numbers and words serialize: {error}"))
}
