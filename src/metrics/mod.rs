//! Metrics of classification.

mod measure;
mod measures;
mod tally;

pub use measure::{measure, measure_each, measure_with_progress};
pub use measures::{ClassMeasures, Confusion, Measures};
pub use tally::{Scored, Tally};
