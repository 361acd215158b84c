//! Metrics of trained networks.

mod classification;
mod measures;
mod probability_counts;
mod psnr;
mod ssim;
mod tally;

pub use classification::{ClassMeasures, Classification, Confusion, ReliabilityBin};
pub(crate) use measures::numbers;
pub use measures::{Means, Measures, Metrics};
pub use probability_counts::{Decisions, ProbabilityCounts};
pub use psnr::psnr;
pub use ssim::ssim;
pub use tally::{Scored, Tally};
