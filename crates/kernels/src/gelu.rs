//! The Gaussian error linear unit (GELU) by its definition, z·Φ(z), with Φ the distribution function of the standard normal distribution
//! (Hendrycks and Gimpel 2016, arXiv 1606.08415).

use pulp::Simd;

/// z·Φ(z). Its relative error is below 1e-6 for |z| ≤ 2, and grows with z² where z is negative.
#[must_use]
pub fn value(z: f32) -> f32 {
    of(pulp::Scalar::new(), z)
}

/// The derivative, Φ(z) + z·φ(z), to 5e-7.
#[must_use]
pub fn slope(z: f32) -> f32 {
    derivative(pulp::Scalar::new(), z)
}

/// See [`value`].
#[inline(always)]
pub(crate) fn of<S: Simd>(simd: S, z: S::f32s) -> S::f32s {
    simd.mul_f32s(z, Normal::at(simd, z).distribution)
}

/// See [`slope`].
#[inline(always)]
pub(crate) fn derivative<S: Simd>(simd: S, z: S::f32s) -> S::f32s {
    let Normal { distribution, density } = Normal::at(simd, z);
    simd.mul_add_e_f32s(z, density, distribution)
}

/// The standard normal distribution.
struct Normal<S: Simd> {
    /// Φ(z).
    distribution: S::f32s,
    /// φ(z) = exp(−z²/2)/√(2π).
    density: S::f32s,
}

impl<S: Simd> Normal<S> {
    /// Φ(−|z|)·exp(z²/2) is t times a polynomial of t = 1/(1 + |z|/4), with a relative error below 4e-8 (`tests/fixtures/gelu.py`).
    #[inline(always)]
    #[expect(clippy::excessive_precision, reason = "ten digits")]
    fn at(simd: S, z: S::f32s) -> Self {
        const FACTORS: [f32; 10] = [
            0.019_781_969_2,
            -0.080_877_136_33,
            0.095_596_767_77,
            -0.031_717_214_91,
            0.063_698_937_37,
            0.058_975_207_11,
            0.081_603_098_29,
            0.093_466_356_26,
            0.099_736_431_58,
            0.099_735_566_72,
        ];
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        let exponential = exponential(simd, simd.mul_f32s(simd.mul_f32s(z, z), simd.splat_f32s(-0.5)));
        let t = simd.div_f32s(one, simd.mul_add_e_f32s(simd.abs_f32s(z), simd.splat_f32s(0.25), one));
        let mut sum = simd.splat_f32s(FACTORS[0]);
        for factor in &FACTORS[1..] {
            sum = simd.mul_add_e_f32s(sum, t, simd.splat_f32s(*factor));
        }
        let tail = simd.mul_f32s(simd.mul_f32s(sum, t), exponential);
        let is_below = simd.less_than_or_equal_f32s(z, zero);
        Self {
            distribution: simd.select_f32s(is_below, tail, simd.sub_f32s(one, tail)),
            density: simd.mul_f32s(exponential, simd.splat_f32s(0.398_942_28)),
        }
    }
}

/// exp(y) for y ≤ 0, to two units in the last place; 0 from −80 on, where it is below 2e-35, so that products of it are no denormal numbers. Any number for NaN.
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "a number in two parts")]
fn exponential<S: Simd>(simd: S, y: S::f32s) -> S::f32s {
    // 1.5·2²³: what is added to it is rounded to a whole number, which its last bits then are.
    const ROUNDING: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few bits, so that its multiples are exact (Cody and Waite 1980).
    const LN_2: [f32; 2] = [0.693_359_375, -2.121_944_4e-4];
    let least = simd.splat_f32s(-80.0);
    let is_least = simd.less_than_or_equal_f32s(y, least);
    let y = simd.select_f32s(is_least, least, y);
    let shifted = simd.mul_add_e_f32s(y, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUNDING));
    let power = simd.sub_f32s(shifted, simd.splat_f32s(ROUNDING));
    let rest = simd.negate_mul_add_e_f32s(power, simd.splat_f32s(LN_2[0]), y);
    let rest = simd.negate_mul_add_e_f32s(power, simd.splat_f32s(LN_2[1]), rest);
    // The series of exp, whose next term is below 1e-8 for |rest| ≤ ln 2/2.
    let mut sum = simd.splat_f32s(1.0 / 5040.0);
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = simd.mul_add_e_f32s(sum, rest, simd.splat_f32s(factor));
    }
    // Times 2^power, by its exponent.
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let power = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(sum), exponent));
    simd.select_f32s(is_least, simd.splat_f32s(0.0), power)
}

#[cfg(test)]
mod tests {
    use pulp::WithSimd;

    use super::*;
    use crate::simd::Path;

    /// GELU and its derivative of one number in every lane.
    struct At(f32);

    impl WithSimd for At {
        type Output = [f32; 2];

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
            let z = simd.splat_f32s(self.0);
            [of(simd, z), derivative(simd, z)].map(|register| {
                let mut first = [0.0];
                crate::registers::store(simd, &mut first, register);
                first[0]
            })
        }
    }

    /// Both in float64, by a series of terms of one sign: Φ(z) = ½ + φ(z)·Σ z^(2n+1)/(1·3·5···(2n+1)).
    fn by_definition(z: f64) -> [f64; 2] {
        let (mut term, mut sum) = (z, 0.0);
        for n in 1..400 {
            sum += term;
            term *= z * z / f64::from(2 * n + 1);
        }
        let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let distribution = 0.5 + density * sum;
        [z * distribution, distribution + z * density]
    }

    #[test]
    fn both_are_their_definitions() {
        for path in Path::all() {
            for step in -550_i16..=1200 {
                let z = f32::from(step) / 100.0;
                let (found, expected) = (path.run(At(z)), by_definition(f64::from(z)));
                let [value, slope] = [0, 1].map(|which| (f64::from(found[which]) - expected[which]).abs());
                // The rounding of z²/2 is a factor of the exponential.
                let bound = (6e-7 + 1e-7 * f64::from(z * z)) * expected[0].abs();
                assert!(value <= bound && slope < 5e-7, "{z}: {found:?} and {expected:?} on {}", path.name);
            }
        }
    }

    /// torch.nn.functional.gelu and its gradient, of PyTorch 2.15 in float64: `x = torch.tensor([...], dtype=torch.float64, requires_grad=True); y = F.gelu(x); y.sum().backward()`.
    #[test]
    fn both_are_those_of_pytorch() {
        let expected = [
            (-3.0, [-0.004_049_694, -0.011_945_647]),
            (-0.5, [-0.154_268_77, 0.132_504_88]),
            (0.0, [0.0, 0.5]),
            (1.0, [0.841_344_7, 1.083_315_5]),
            (4.0, [3.999_873_3, 1.000_503_7]),
        ];
        for (path, (z, [value, derivative])) in Path::all().into_iter().flat_map(|path| expected.map(|one| (path, one))) {
            let found = path.run(At(z));
            assert!((found[0] - value).abs() < 3e-7 && (found[1] - derivative).abs() < 3e-7, "{z}: {found:?} on {}", path.name);
        }
    }

    #[test]
    fn far_from_0_it_is_0_or_the_number_and_nan_stays() {
        for path in Path::all() {
            let nan = f32::from_bits(f32::NAN.to_bits() + 1);
            assert!([f32::NAN, nan].iter().all(|nan| path.run(At(*nan)).iter().all(|number| number.is_nan())), "{}", path.name);
            let denormal = (-2000_i16..2000).flat_map(|step| path.run(At(f32::from(step) / 100.0))).find(|number| number.is_subnormal());
            assert_eq!(denormal, None, "{}", path.name);
            assert_eq!(path.run(At(1e38)).map(f32::to_bits), [1e38, 1.0].map(f32::to_bits));
            assert_eq!(path.run(At(-1e38)).map(|number| number.abs().to_bits()), [0, 0]);
        }
    }
}
