//! How good predictions are.

mod measure;
mod tally;

pub use measure::{measure, measure_watched};
pub use tally::{ClassMeasures, Measures, Tally, softmax};
