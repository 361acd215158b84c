//! What a node gives, and what the network gives: the output of its last node.

use burn::prelude::*;

use crate::backend::numbers;

/// A batch of feature maps or of feature vectors. The graph says which: [`Graph::output_features`](regulus_model::graph::Graph::output_features).
#[derive(Clone, Debug)]
pub enum Output {
    /// `[batch, channels, height, width]`.
    Map(Tensor<4>),
    /// The same as `[batch, height, width, channels]`.
    ChannelsLast(Tensor<4>),
    /// `[batch, length]`.
    Vector(Tensor<2>),
}

impl Output {
    /// The feature maps, `[batch, channels, height, width]`.
    ///
    /// # Panics
    ///
    /// When it is vectors.
    #[must_use]
    pub fn map(self) -> Tensor<4> {
        match self {
            Self::Map(map) => map,
            Self::ChannelsLast(map) => map.permute([0, 3, 1, 2]),
            Self::Vector(vector) => panic!("vectors {:?} where the graph must give feature maps", vector.dims()),
        }
    }

    /// The feature maps as `[batch, height, width, channels]`; vectors are maps of one pixel.
    #[must_use]
    pub(super) fn channels_last(self) -> Tensor<4> {
        match self {
            Self::Map(map) => map.permute([0, 2, 3, 1]),
            Self::ChannelsLast(map) => map,
            Self::Vector(vector) => {
                let [batch, length] = vector.dims();
                vector.reshape([batch, 1, 1, length])
            }
        }
    }

    /// The vectors, `[batch, length]`.
    ///
    /// # Panics
    ///
    /// When it is feature maps.
    #[must_use]
    pub fn vector(self) -> Tensor<2> {
        match self {
            Self::Vector(vector) => vector,
            Self::Map(map) | Self::ChannelsLast(map) => panic!("feature maps {:?} where the graph must give vectors", map.dims()),
        }
    }

    /// The numbers on the host, in order.
    #[must_use]
    pub fn numbers(self) -> Vec<f32> {
        match self {
            Self::Map(_) | Self::ChannelsLast(_) => numbers(self.map()),
            Self::Vector(vector) => numbers(vector),
        }
    }
}

/// The same operation on a map and on a vector.
macro_rules! pointwise {
    ($value:expr, $x:ident => $result:expr) => {
        match $value {
            Output::Map($x) => Output::Map($result),
            Output::ChannelsLast($x) => Output::ChannelsLast($result),
            Output::Vector($x) => Output::Vector($result),
        }
    };
}
pub(super) use pointwise;
