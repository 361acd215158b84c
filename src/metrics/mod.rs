//! Metrics of classification, and of pictures.

mod measure;
mod measures;
mod psnr;
mod ssim;
mod tally;

pub use measure::{measure, measure_each, measure_with_progress};
pub use measures::{ClassMeasures, Confusion, Measures};
pub use psnr::psnr;
pub use ssim::ssim;
pub use tally::{Scored, Tally};
