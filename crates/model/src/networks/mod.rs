//! The networks that have a name of their own, each built in its own file, and those made of a list of layers.

mod cnn;
mod dncnn;
mod efficientnet_lite;
mod layers;
mod linear;
mod mlp;
mod older;
mod resnet;
mod resnet9;

pub use cnn::Cnn;
pub use dncnn::DnCnn;
pub use efficientnet_lite::EfficientNetLite;
pub use layers::{layers, names_of_layers};
pub use linear::linear;
pub use mlp::Mlp;
pub use older::graph_of;
pub use resnet::{ResNet, Stem};
pub use resnet9::ResNet9;
