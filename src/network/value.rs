//! What flows from node to node.

use burn::prelude::*;

/// A batch of feature maps or of feature vectors.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// `[batch, channels, height, width]`.
    Map(Tensor<4>),
    /// `[batch, length]`.
    Vector(Tensor<2>),
}

impl Value {
    /// A feature map, which the graph says it is.
    pub(super) fn map(self) -> Tensor<4> {
        match self {
            Self::Map(map) => map,
            Self::Vector(vector) => unreachable!("a graph is checked when it is made: {:?} is no feature map", vector.dims()),
        }
    }

    /// A vector, which the graph says it is.
    pub(super) fn vector(self) -> Tensor<2> {
        match self {
            Self::Vector(vector) => vector,
            Self::Map(map) => unreachable!("a graph is checked when it is made: {:?} is no vector", map.dims()),
        }
    }
}

/// The same operation on a map and on a vector.
macro_rules! pointwise {
    ($value:expr, $x:ident => $result:expr) => {
        match $value {
            Value::Map($x) => Value::Map($result),
            Value::Vector($x) => Value::Vector($result),
        }
    };
}
pub(super) use pointwise;
