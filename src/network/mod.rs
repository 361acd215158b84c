//! A graph as a Burn module: its parameters on a device, its forward pass, and its curvature.
//!
//! An operation's Burn side is one file here, named as its file in `regulus_model::graph`.

mod batch_norm;
mod conv;
mod curvature;
mod dense;
mod dropout;
mod init;
mod module;
mod output;
mod picture;
mod pool;
mod predictor;
mod stages;
mod training_pass;
mod visit;
mod weights;
mod whitening;

pub use batch_norm::BatchStatistics;
pub use curvature::{Curvature, CurvatureInput, Determinant, LeaveOneOut, Posterior, Scope, Spectrum, Stopped, Watch};
pub(crate) use init::draw;
pub use module::Network;
pub use output::Output;
pub use picture::PicturePredictor;
pub use predictor::Predictor;
pub use training_pass::TrainingPass;
pub use visit::{ParamMapper, ParamVisitor};
pub(crate) use weights::flat;
pub use weights::output_axis;
pub(crate) use whitening::whitening;
