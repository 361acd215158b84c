//! Safetensors: float32 tensors under PyTorch's names and layouts, described in the metadata.

use crate::trained::Trained;

/// The file's content. Its metadata has `format` (`"pt"`, which PyTorch tools look for) and the keys of the
/// [`Description`](regulus_model::Description).
pub(super) fn bytes(trained: &Trained) -> Vec<u8> {
    let mut metadata = trained.description.to_metadata();
    metadata.insert("format".to_owned(), "pt".to_owned());
    trained.weights.to_safetensors(&metadata)
}
