//! Quantiles of Student's t distribution.

/// The 97.5 % quantiles for 1 to 10 degrees of freedom.
const FEW: [f64; 10] = [12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157, 2.228_139];
/// That of the normal distribution.
const NORMAL: f64 = 1.959_963_985;

/// The 97.5 % quantile of Student's t distribution, by which a standard error becomes half of a 95 % interval. Above 10 degrees of freedom by its expansion in their
/// inverse (Abramowitz and Stegun 26.7.5). Returns `None` for 0 degrees.
pub(crate) fn t975(degrees: usize) -> Option<f64> {
    let few = degrees.checked_sub(1)?;
    if let Some(quantile) = FEW.get(few) {
        return Some(*quantile);
    }
    let (z, degrees) = (NORMAL, degrees as f64);
    let terms = [
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
    ];
    Some(terms.iter().zip(1..).map(|(term, power)| term / degrees.powi(power)).sum::<f64>() + z)
}

#[cfg(test)]
mod tests {
    use super::t975;

    /// The numbers of the usual tables.
    #[test]
    fn quantiles_are_those_of_tables() {
        assert_eq!(t975(0), None);
        for (degrees, expected) in [(1, 12.706), (4, 2.776), (9, 2.262), (11, 2.201), (20, 2.086), (120, 1.980), (100_000, 1.960)] {
            assert!((t975(degrees).unwrap() - expected).abs() < 6e-4, "{degrees}: {:?}", t975(degrees));
        }
    }
}
