//! The matrices of the two schemes: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, with d the pixels that a tile of outputs sees and g a 3×3 kernel.

use pulp::Simd;

/// The most pixels on a side of d.
pub(super) const MOST: usize = 6;

/// A scheme. Each function multiplies a column by one of its matrices, or by the transpose of one; numbers beyond the scheme's sides are ignored.
pub(super) trait Scheme {
    /// Pixels on a side of d.
    const SIDE: usize;
    /// Outputs on a side of a tile.
    const OUTPUTS: usize;

    /// Bᵀ d.
    fn pixels<S: Simd>(simd: S, d: [S::f32s; MOST]) -> [S::f32s; MOST];
    /// G g.
    fn kernel<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; MOST];
    /// Aᵀ m.
    fn outputs<S: Simd>(simd: S, m: [S::f32s; MOST]) -> [S::f32s; 4];
    /// A y.
    fn gradient<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; MOST];
    /// Gᵀ u.
    fn kernel_gradient<S: Simd>(simd: S, u: [S::f32s; MOST]) -> [S::f32s; 3];
}

/// F(2×2, 3×3) with the points 0, 1 and −1 (Lavin and Gray 2015, arXiv 1509.09308).
pub(super) struct F2;

impl Scheme for F2 {
    const SIDE: usize = 4;
    const OUTPUTS: usize = 2;

    #[inline(always)]
    fn pixels<S: Simd>(simd: S, [a, b, c, d, ..]: [S::f32s; MOST]) -> [S::f32s; MOST] {
        let zero = simd.splat_f32s(0.0);
        [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, d), zero, zero]
    }

    #[inline(always)]
    fn kernel<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; MOST] {
        let (zero, half) = (simd.splat_f32s(0.0), simd.splat_f32s(0.5));
        let (outer, inner) = (simd.mul_f32s(half, simd.add_f32s(a, c)), simd.mul_f32s(half, b));
        [a, simd.add_f32s(outer, inner), simd.sub_f32s(outer, inner), c, zero, zero]
    }

    #[inline(always)]
    fn outputs<S: Simd>(simd: S, [a, b, c, d, ..]: [S::f32s; MOST]) -> [S::f32s; 4] {
        let zero = simd.splat_f32s(0.0);
        [simd.add_f32s(simd.add_f32s(a, b), c), simd.sub_f32s(simd.sub_f32s(b, c), d), zero, zero]
    }

    #[inline(always)]
    fn gradient<S: Simd>(simd: S, [a, b, ..]: [S::f32s; 4]) -> [S::f32s; MOST] {
        let zero = simd.splat_f32s(0.0);
        [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), simd.neg_f32s(b), zero, zero]
    }

    #[inline(always)]
    fn kernel_gradient<S: Simd>(simd: S, [a, b, c, d, ..]: [S::f32s; MOST]) -> [S::f32s; 3] {
        let half = simd.splat_f32s(0.5);
        let sum = simd.mul_f32s(half, simd.add_f32s(b, c));
        [simd.add_f32s(a, sum), simd.mul_f32s(half, simd.sub_f32s(b, c)), simd.add_f32s(sum, d)]
    }
}

/// F(4×4, 3×3) with the points 0, 1, −1, ½ and −2, whose rounding errors are smaller than those of 0, ±1 and ±2 (Barabasz et al. 2020, arXiv 1803.10986).
pub(super) struct F4;

impl Scheme for F4 {
    const SIDE: usize = 6;
    const OUTPUTS: usize = 4;

    #[inline(always)]
    fn pixels<S: Simd>(simd: S, [d0, d1, d2, d3, d4, d5]: [S::f32s; MOST]) -> [S::f32s; MOST] {
        let (add, sub) = (|a, b| simd.add_f32s(a, b), |a, b| simd.sub_f32s(a, b));
        let times = |factor, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
        let (odd, even) = (sub(d3, d1), sub(d4, d2));
        [
            times(1.5, odd, add(sub(d0, d2), even)),
            times(1.5, add(d3, d2), add(even, odd)),
            times(1.5, sub(d3, d2), sub(even, odd)),
            times(2.0, odd, even),
            times(-0.5, odd, even),
            times(1.5, even, sub(sub(d5, d3), odd)),
        ]
    }

    #[inline(always)]
    fn kernel<S: Simd>(simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; MOST] {
        let scaled = |factor, x| simd.mul_f32s(simd.splat_f32s(factor), x);
        let times = |factor, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
        let third = 1.0 / 3.0;
        let outer = scaled(third, simd.add_f32s(a, c));
        let half = times(-8.0 / 15.0, b, times(-4.0 / 15.0, c, scaled(-16.0 / 15.0, a)));
        let minus_two = times(-2.0 / 15.0, b, times(4.0 / 15.0, c, scaled(1.0 / 15.0, a)));
        [a, times(third, b, outer), simd.sub_f32s(scaled(third, b), outer), half, minus_two, c]
    }

    #[inline(always)]
    fn outputs<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5]: [S::f32s; MOST]) -> [S::f32s; 4] {
        let (add, sub) = (|a, b| simd.add_f32s(a, b), |a, b| simd.sub_f32s(a, b));
        let times = |factor, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
        let (sum, difference) = (add(m1, m2), sub(m1, m2));
        [
            add(add(m0, sum), add(m3, m4)),
            times(-2.0, m4, times(0.5, m3, difference)),
            times(4.0, m4, times(0.25, m3, sum)),
            times(-8.0, m4, times(0.125, m3, add(difference, m5))),
        ]
    }

    #[inline(always)]
    fn gradient<S: Simd>(simd: S, [y0, y1, y2, y3]: [S::f32s; 4]) -> [S::f32s; MOST] {
        let times = |factor, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
        let (even, odd) = (simd.add_f32s(y0, y2), simd.add_f32s(y1, y3));
        [
            y0,
            simd.add_f32s(even, odd),
            simd.sub_f32s(even, odd),
            times(0.125, y3, times(0.25, y2, times(0.5, y1, y0))),
            times(-8.0, y3, times(4.0, y2, times(-2.0, y1, y0))),
            y3,
        ]
    }

    #[inline(always)]
    fn kernel_gradient<S: Simd>(simd: S, [u0, u1, u2, u3, u4, u5]: [S::f32s; MOST]) -> [S::f32s; 3] {
        let times = |factor, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
        let scaled = |factor, x| simd.mul_f32s(simd.splat_f32s(factor), x);
        let third = 1.0 / 3.0;
        let difference = scaled(third, simd.sub_f32s(u1, u2));
        let sum = scaled(third, simd.add_f32s(u1, u2));
        [
            times(1.0 / 15.0, u4, times(-16.0 / 15.0, u3, simd.add_f32s(u0, difference))),
            times(-2.0 / 15.0, u4, times(-8.0 / 15.0, u3, sum)),
            times(4.0 / 15.0, u4, times(-4.0 / 15.0, u3, simd.add_f32s(u5, difference))),
        ]
    }
}
