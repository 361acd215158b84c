//! Safetensors: float32 tensors with PyTorch's names and layouts.

use crate::trained::Trained;

/// The content of the file. The metadata has `format` (`"pt"`, which PyTorch tools expect) and the keys of the
/// [`Description`](regulus_model::Description).
pub(super) fn bytes(trained: &Trained) -> Vec<u8> {
    let mut metadata = trained.description.to_metadata();
    metadata.insert("format".to_owned(), "pt".to_owned());
    trained.weights.to_safetensors(&metadata)
}
