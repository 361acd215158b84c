//! How good predictions are.

mod measure;
mod measures;
mod tally;

pub use measure::{measure, measure_each, measure_watched};
pub use measures::{ClassMeasures, Confusion, Measures};
pub use tally::{Scored, Tally, softmax};
