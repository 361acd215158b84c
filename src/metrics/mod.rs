//! How good predictions are.

mod measure;
mod tally;

pub use measure::measure;
pub use tally::{ClassMeasures, Measures, Tally, softmax};
