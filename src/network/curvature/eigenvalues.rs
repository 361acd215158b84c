//! The eigenvalues of a symmetric matrix, found so that it can be watched and stopped: those of a layer of 1,600 inputs take seconds.
//!
//! Householder's reflections make the matrix tridiagonal, and implicit QR steps make that diagonal (Golub and Van Loan 2013, *Matrix
//! Computations*, sections 8.3.1 and 8.3.3).

use super::Stopped;

/// Numbers summed side by side, so that they fit vector instructions.
const LANES: usize = 8;

/// What [`eigenvalues`] does for a matrix of `size` rows, in units of its own.
pub(super) fn work(size: usize) -> u64 {
    (0..size as u64).map(|row| row * row).sum()
}

/// The eigenvalues of a symmetric matrix, given row by row; only the lower triangle is read. Numbers that are not finite make all of them NaN. After each
/// row `goes_on` is called with how much of [`work`] it was; it returns whether to go on.
pub(super) fn eigenvalues(mut matrix: Vec<f64>, goes_on: impl Fn(u64) -> bool) -> Result<Vec<f64>, Stopped> {
    let size = matrix.len().isqrt();
    if matrix.iter().any(|number| !number.is_finite()) {
        return Ok(vec![f64::NAN; size]);
    }
    let scale = matrix.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
    if scale == 0.0 {
        return Ok(vec![0.0; size]);
    }
    matrix.iter_mut().for_each(|number| *number /= scale);
    let (mut diagonal, mut beside) = tridiagonal(&mut matrix, size, goes_on)?;
    diagonalize(&mut diagonal, &mut beside);
    diagonal.iter_mut().for_each(|number| *number *= scale);
    Ok(diagonal)
}

/// The diagonal and what is beside it of a tridiagonal matrix with the same eigenvalues. Row by row from the last, the reflection I − u·uᵀ/h takes all
/// of the row but its last two numbers to 0, and the rows above become A − u·qᵀ − q·uᵀ.
fn tridiagonal(matrix: &mut [f64], size: usize, goes_on: impl Fn(u64) -> bool) -> Result<(Vec<f64>, Vec<f64>), Stopped> {
    let mut beside = vec![0.0; size.saturating_sub(1)];
    let mut q = vec![0.0; size];
    for row in (1..size).rev() {
        let (above, own) = matrix.split_at_mut(row * size);
        let u = &mut own[..row];
        let last = u[row - 1];
        let others: f64 = u[..row - 1].iter().map(|number| number * number).sum();
        if others == 0.0 {
            beside[row - 1] = last;
        } else {
            let length = -last.hypot(others.sqrt()).copysign(last);
            beside[row - 1] = length;
            u[row - 1] = last - length;
            let h = length * (length - last);
            multiply(above, size, u, &mut q[..row]);
            let q = &mut q[..row];
            let along: f64 = u.iter().zip(&*q).map(|(u, q)| u * q).sum::<f64>() / (2.0 * h * h);
            q.iter_mut().zip(&*u).for_each(|(q, u)| *q = *q / h - along * u);
            for (number, numbers) in above.chunks_exact_mut(size).enumerate() {
                let [u_here, q_here] = [u[number], q[number]];
                for ((to, u), q) in numbers[..=number].iter_mut().zip(&*u).zip(&*q) {
                    *to -= u_here * q + q_here * u;
                }
            }
        }
        if !goes_on((row * row) as u64) {
            return Err(Stopped);
        }
    }
    Ok(((0..size).map(|row| matrix[row * size + row]).collect(), beside))
}

/// product ← A·u for the symmetric A of which `matrix` holds the lower triangle, one row of it after another.
fn multiply(matrix: &[f64], size: usize, u: &[f64], product: &mut [f64]) {
    product.fill(0.0);
    for (row, numbers) in matrix.chunks_exact(size).enumerate() {
        let here = u[row];
        let (before, rest) = product.split_at_mut(row);
        let mut sums = [0.0; LANES];
        let parts = numbers[..row].chunks_exact(LANES).zip(u.chunks_exact(LANES)).zip(before.chunks_exact_mut(LANES));
        for ((numbers, u), product) in parts {
            for lane in 0..LANES {
                sums[lane] += numbers[lane] * u[lane];
                product[lane] += numbers[lane] * here;
            }
        }
        let mut sum: f64 = sums.iter().sum();
        for index in row / LANES * LANES..row {
            sum += numbers[index] * u[index];
            before[index] += numbers[index] * here;
        }
        rest[0] += sum + numbers[row] * here;
    }
}

/// Makes a tridiagonal matrix diagonal.
fn diagonalize(diagonal: &mut [f64], beside: &mut [f64]) {
    let mut steps = 0;
    let mut high = diagonal.len().saturating_sub(1);
    while high > 0 {
        // What is beside the diagonal counts as 0 below the rounding of its neighbours; after many steps, below that of the largest numbers.
        let negligible = |index: usize, diagonal: &[f64], beside: &[f64]| {
            let neighbours = if steps > 30 { 1.0 } else { diagonal[index].abs() + diagonal[index + 1].abs() };
            beside[index].abs() <= f64::EPSILON * neighbours
        };
        if negligible(high - 1, diagonal, beside) {
            high -= 1;
            steps = 0;
            continue;
        }
        let mut low = high - 1;
        while low > 0 && !negligible(low - 1, diagonal, beside) {
            low -= 1;
        }
        step(&mut diagonal[low..=high], &mut beside[low..high]);
        steps += 1;
    }
}

/// One implicit QR step with Wilkinson's shift.
fn step(diagonal: &mut [f64], beside: &mut [f64]) {
    let last = beside.len();
    let half = 0.5 * (diagonal[last - 1] - diagonal[last]);
    let corner = beside[last - 1];
    let shift = diagonal[last] - corner * corner / (half + half.hypot(corner).copysign(half));
    let (mut x, mut z) = (diagonal[0] - shift, beside[0]);
    for index in 0..last {
        let length = x.hypot(z);
        let (cos, sin) = if length == 0.0 { (1.0, 0.0) } else { (x / length, z / length) };
        if index > 0 {
            beside[index - 1] = length;
        }
        let [first, between, second] = [diagonal[index], beside[index], diagonal[index + 1]];
        diagonal[index] = cos * cos * first + 2.0 * cos * sin * between + sin * sin * second;
        diagonal[index + 1] = sin * sin * first - 2.0 * cos * sin * between + cos * cos * second;
        beside[index] = (cos * cos - sin * sin) * between + cos * sin * (second - first);
        if index + 1 < last {
            (x, z) = (beside[index], sin * beside[index + 1]);
            beside[index + 1] *= cos;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rand::RngExt;

    use super::*;

    fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
        numbers.sort_by(f64::total_cmp);
        numbers
    }

    /// The diagonal matrix of some eigenvalues, turned by reflections I − 2·v·vᵀ/‖v‖²; row by row.
    fn turned(eigenvalues: &[f64], chance: &mut impl RngExt) -> Vec<f64> {
        let size = eigenvalues.len();
        let mut matrix = vec![0.0; size * size];
        eigenvalues.iter().enumerate().for_each(|(index, eigenvalue)| matrix[index * size + index] = *eigenvalue);
        for _ in 0..3 {
            let v: Vec<f64> = (0..size).map(|_| chance.random_range(-1.0..1.0)).collect();
            let squares: f64 = v.iter().map(|number| number * number).sum();
            let products: Vec<f64> = matrix
                .chunks_exact(size)
                .map(|row| row.iter().zip(&v).map(|(number, v)| number * v).sum::<f64>() * 2.0 / squares)
                .collect();
            let along = products.iter().zip(&v).map(|(product, v)| product * v).sum::<f64>() / squares;
            let q: Vec<f64> = products.iter().zip(&v).map(|(product, v)| product - along * v).collect();
            for (row, numbers) in matrix.chunks_exact_mut(size).enumerate() {
                numbers.iter_mut().enumerate().for_each(|(index, number)| *number -= v[row] * q[index] + q[row] * v[index]);
            }
        }
        matrix
    }

    #[test]
    fn eigenvalues_of_turned_diagonals() {
        let mut chance = crate::seed::Seed(5).stream("eigenvalues", 0);
        for (size, rank) in [(1, 1), (2, 2), (3, 3), (9, 4), (40, 40), (77, 5), (130, 130), (200, 60)] {
            // Some are equal, some are 0, and they are of many sizes.
            let of = |index: usize| if index < rank { 1e-20 * 10_f64.powi(i32::try_from(index / 3 % 9).unwrap()) } else { 0.0 };
            let expected = sorted((0..size).map(of).collect());
            let done = Cell::new(0);
            let found = eigenvalues(turned(&expected, &mut chance), |work| {
                done.set(done.get() + work);
                true
            });
            let found = sorted(found.unwrap());
            assert_eq!((found.len(), done.get()), (size, work(size)));
            let largest = expected[size - 1];
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-13 * largest, "{size}: {found} against {expected} of {largest}");
            }
        }
    }

    #[test]
    fn eigenvalues_of_second_differences() {
        // 2 on the diagonal and −1 beside it: 2 − 2·cos(k·π/(n + 1)).
        let size = 50;
        let beside = |row: usize, column: usize| if row.abs_diff(column) == 1 { -1.0 } else { 0.0 };
        let matrix: Vec<f64> =
            (0..size * size).map(|index| if index / size == index % size { 2.0 } else { beside(index / size, index % size) }).collect();
        let found = sorted(eigenvalues(matrix, |_| true).unwrap());
        for (k, found) in (1..).zip(found) {
            let expected = 2.0 - 2.0 * (f64::from(k) * std::f64::consts::PI / 51.0).cos();
            assert!((found - expected).abs() < 1e-14, "{found} against {expected}");
        }
    }

    #[test]
    fn eigenvalues_by_hand_and_of_what_has_none() {
        let all = |matrix: &[f64]| eigenvalues(matrix.to_vec(), |_| true).unwrap();
        assert_eq!(all(&[]), [0.0; 0]);
        assert_eq!(all(&[0.0; 9]), [0.0; 3]);
        assert_eq!(sorted(all(&[3.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 2.0])), [-1.0, 2.0, 3.0]);
        let found = sorted(all(&[2.0, 1.0, 1.0, 2.0]));
        assert!((found[0] - 1.0).abs() < 1e-15 && (found[1] - 3.0).abs() < 1e-15);
        assert!(all(&[1.0, f64::NAN, 1.0, 1.0]).iter().all(|number| number.is_nan()));
        assert!(eigenvalues(vec![1.0, 2.0, 2.0, 1.0], |_| false).is_err(), "it was stopped");
    }
}
