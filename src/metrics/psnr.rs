//! The peak signal-to-noise ratio.

/// PSNR = −10·log10(MSE) in dB of two pictures with values from 0 to 1, MSE the mean squared difference over all pixels and channels, in float64.
///
/// Equal pictures have an infinite PSNR, and so has a mean over pictures with such a one.
///
/// # Panics
///
/// When the pictures are not of the same size.
#[must_use]
pub fn psnr(picture: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(picture.len(), reference.len(), "two pictures of the same size");
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    let mse = picture.iter().zip(reference).map(square).sum::<f64>() / picture.len() as f64;
    -10.0 * mse.log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_range_is_20_db_and_no_difference_infinite() {
        assert!((psnr(&[0.1, 0.5, 0.9], &[0.0, 0.6, 1.0]) - 20.0).abs() < 1e-5);
        let equal = psnr(&[0.25, 1.0], &[0.25, 1.0]);
        assert!(equal.is_infinite() && equal > 0.0);
        assert!(psnr(&[f32::NAN], &[0.0]).is_nan());
    }
}
