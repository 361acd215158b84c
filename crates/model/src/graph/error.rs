//! What can be wrong with a graph.

/// A graph that does not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A node at fault.
    #[error("node `{name}` ({word}) {problem}")]
    Node {
        /// Its name.
        name: String,
        /// The word for its operation.
        word: &'static str,
        /// What does not fit.
        problem: String,
    },
    /// A node that makes the network too large to be computed with.
    #[error("node `{name}` ({word}) {problem}; use smaller sizes")]
    TooLarge {
        /// Its name.
        name: String,
        /// The word for its operation.
        word: &'static str,
        /// What is too large.
        problem: String,
    },
    /// The graph as a whole.
    #[error("{0}")]
    Whole(String),
}
