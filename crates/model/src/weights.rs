//! The weights of a network on the host, under PyTorch's names and layouts.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::ModelError;
use crate::graph::{Graph, Parameter};

/// The values of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Its shape in PyTorch's layout: `[out, in, height, width]`, `[out, in]` or `[out]`.
    pub shape: Vec<usize>,
    /// Its values, the last dimension fastest.
    pub numbers: Vec<f32>,
}

/// Every parameter of a network by its name, such as `conv1.weight`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(BTreeMap<String, Values>);

impl Weights {
    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Values)> {
        self.0.iter()
    }

    /// The values of one parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Values> {
        self.0.get(name)
    }

    /// Weights of the same names and shapes, with other values.
    #[must_use]
    pub fn map(&self, values: impl Fn(&str, &Values) -> Values) -> Self {
        Self(self.0.iter().map(|(name, old)| (name.clone(), values(name, old))).collect())
    }

    /// Whether every value is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.0.values().all(|values| values.numbers.iter().all(|number| number.is_finite()))
    }

    /// The weights as a safetensors file with `metadata` in its header.
    #[must_use]
    pub fn to_safetensors(&self, metadata: &BTreeMap<String, String>) -> Vec<u8> {
        let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = self
            .0
            .iter()
            .map(|(name, values)| (name, &values.shape, values.numbers.iter().flat_map(|number| number.to_le_bytes()).collect()))
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, (*shape).clone(), bytes);
            (*name, view.unwrap_or_else(|error| unreachable!("{name} has as many values as its shape says: {error}")))
        });
        let file = safetensors::serialize(views, None).unwrap_or_else(|error| unreachable!("float32 tensors serialize: {error}"));
        if metadata.is_empty() { file } else { with_metadata(&file, metadata) }
    }

    /// Reads a safetensors file of float32 tensors.
    ///
    /// # Errors
    ///
    /// When it can't be read, is damaged, or holds another type.
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::from_safetensors(path, &bytes)
    }

    /// Takes weights out of the content of a safetensors file.
    ///
    /// # Errors
    ///
    /// When it is damaged or holds a type other than float32; `path` is for the message.
    pub fn from_safetensors(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        Self::with_metadata(path, bytes).map(|(weights, _)| weights)
    }

    /// As [`from_safetensors`](Self::from_safetensors), with the metadata in the file's header. Tensors named `num_batches_tracked`, which PyTorch writes for
    /// normalizations, are left out.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn with_metadata(path: &Path, bytes: &[u8]) -> Result<(Self, BTreeMap<String, String>), ModelError> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| ModelError::format(path, &error))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| ModelError::format(path, &error))?;
        let metadata = header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut weights = BTreeMap::new();
        for (name, view) in file.iter() {
            // PyTorch's count of the batches that a normalization has seen; nothing is computed with it.
            if name.ends_with(".num_batches_tracked") {
                continue;
            }
            if view.dtype() != Dtype::F32 {
                return Err(ModelError::format(path, &format!("tensor `{name}` is {:?}; expected F32", view.dtype())));
            }
            let numbers = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
            weights.insert(name.to_owned(), Values { shape: view.shape().to_vec(), numbers });
        }
        Ok((Self(weights), metadata))
    }

    /// Checks that they are the parameters of `graph`; `path` is for the message.
    ///
    /// # Errors
    ///
    /// When a name or shape differs.
    pub fn check_fit(&self, graph: &Graph, path: &Path) -> Result<(), ModelError> {
        match self.misfit(graph) {
            None => Ok(()),
            Some(problem) => Err(ModelError::Fit { path: path.to_owned(), problem }),
        }
    }

    /// The tensors of `graph`, as far as they are among these.
    #[must_use]
    pub fn of(&self, graph: &Graph) -> Self {
        graph.parameters().filter_map(|parameter| Some((parameter.name.clone(), self.get(&parameter.name)?.clone()))).collect()
    }

    /// The first difference in names or shapes, in words.
    pub(crate) fn misfit(&self, graph: &Graph) -> Option<String> {
        let wanted: BTreeMap<&String, &Parameter> = graph.parameters().map(|parameter| (&parameter.name, parameter)).collect();
        for (name, wanted) in &wanted {
            match self.0.get(*name) {
                None => return Some(format!("tensor `{name}` {:?} is missing", wanted.shape)),
                Some(found) if found.shape != wanted.shape => {
                    return Some(format!("tensor `{name}` is {:?}; expected {:?}", found.shape, wanted.shape));
                }
                Some(_) => {}
            }
        }
        let extra = self.0.keys().find(|name| !wanted.contains_key(name))?;
        Some(format!("tensor `{extra}` is not part of it"))
    }
}

impl FromIterator<(String, Values)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Values)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A safetensors file with `metadata` in its header. The library takes metadata in a hash map, whose order changes from one run to the next; a
/// file should be the same bytes for the same content.
fn with_metadata(file: &[u8], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let size: [u8; 8] = std::array::from_fn(|index| file[index]);
    #[expect(clippy::cast_possible_truncation, reason = "the size of a header in memory")]
    let data = 8 + u64::from_le_bytes(size) as usize;
    let mut header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&file[8..data]).unwrap_or_else(|error| unreachable!("the library writes a header of JSON: {error}"));
    header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    let mut header = serde_json::json!(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [(header.len() as u64).to_le_bytes().as_slice(), &header, &file[data..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pytorchs_count_of_batches_is_left_out() {
        let (number, count) = (1.5_f32.to_le_bytes(), 7_i64.to_le_bytes());
        let views = [
            ("layer1.0.bn1.weight", TensorView::new(Dtype::F32, vec![1], &number).unwrap()),
            ("layer1.0.bn1.num_batches_tracked", TensorView::new(Dtype::I64, vec![], &count).unwrap()),
        ];
        let weights = Weights::from_safetensors(Path::new("a"), &safetensors::serialize(views, None).unwrap()).unwrap();
        assert_eq!(weights.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["layer1.0.bn1.weight"]);
        let other = [("layer1.0.bn1.count", TensorView::new(Dtype::I64, vec![], &count).unwrap())];
        let error = Weights::from_safetensors(Path::new("a"), &safetensors::serialize(other, None).unwrap()).unwrap_err();
        assert!(error.to_string().contains("tensor `layer1.0.bn1.count` is I64; expected F32"), "{error}");
    }
}
