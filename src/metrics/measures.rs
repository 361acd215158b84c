//! The measures of a network on a set of samples.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::Classification;

/// Metrics by name, such as `accuracy`.
pub type Metrics = BTreeMap<String, f64>;

/// Reads metrics beside other keys: what is not a number is none.
///
/// # Errors
///
/// When it is not a map.
pub(crate) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metrics, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    Ok(all.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?))).collect())
}

/// The measures of a network on a set of samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Measures {
    /// Of a classifier.
    Classification(Box<Classification>),
    /// Of a network with another task.
    Means(Means),
}

/// Means over a set of samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Means {
    /// The number of samples.
    pub count: u64,
    /// The mean data loss, without any penalty.
    pub data_loss: f64,
    /// The mean of each metric.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// The mean of each metric for the input of the network, to compare with.
    #[serde(flatten)]
    pub input_metrics: Metrics,
}

impl Measures {
    /// The number of samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Classification(measures) => measures.count,
            Self::Means(means) => means.count,
        }
    }

    /// The mean data loss, without any penalty.
    #[must_use]
    pub fn data_loss(&self) -> f64 {
        match self {
            Self::Classification(measures) => measures.data_loss,
            Self::Means(means) => means.data_loss,
        }
    }

    /// The metrics in rows and summaries: accuracy, balanced accuracy and macro-F1 of a classifier, or all means.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        match self {
            Self::Classification(measures) => {
                let all = [
                    ("accuracy", Some(measures.accuracy)),
                    ("balanced_accuracy", measures.balanced_accuracy),
                    ("macro_f1", measures.macro_f1),
                ];
                all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
            }
            Self::Means(means) => means.metrics.clone(),
        }
    }

    /// The measures of a classifier. Returns `None` for another task.
    #[must_use]
    pub fn classification(&self) -> Option<&Classification> {
        match self {
            Self::Classification(measures) => Some(measures),
            Self::Means(_) => None,
        }
    }
}
