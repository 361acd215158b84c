//! Metrics of trained networks.

mod classification;
mod measure;
mod measures;
mod tally;

pub use classification::{ClassMeasures, Classification, Confusion};
pub use measure::{measure, measure_each, measure_with_progress};
pub use measures::{Means, Measures, Metrics};
pub use tally::{Scored, Tally};
