//! Linear algebra on slices: eigenvalues and eigenvectors of symmetric matrices ([`eigen`]), Cholesky factors ([`cholesky`]) and matrix products
//! ([`product`]).
//!
//! Matrices are stored row by row. All of it runs on the caller's thread, so that the bits do not depend on the number of threads; callers work on several
//! matrices side by side. `faer` does the work.

pub mod cholesky;
pub mod eigen;
pub mod product;
