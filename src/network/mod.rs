//! Networks, and their weights under PyTorch's names and layouts.

mod error;
mod init;
mod linearized;
mod network;
mod walk;
mod weights;

pub use error::ModelError;
pub use linearized::Layer;
pub use network::{Architecture, Network};
pub use walk::{ParamMapper, ParamVisitor};
pub use weights::{Parameter, Values, Weights};
