//! Data augmentation: random flips, shifts and rotations of training images.

use rand::RngExt;

use crate::config::{Augment, Border, Flip};
use crate::seed::Seed;

/// A rotation around the centre of an image, followed by a shift, followed by a flip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    rotation: Option<Rotation>,
    down: isize,
    right: isize,
    border: Border,
    is_flipped: bool,
}

/// The sine and cosine of an angle.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rotation {
    sine: f32,
    cosine: f32,
}

impl Transform {
    /// A rotation by `degrees` from the x-axis to the y-axis, which points down, followed by a shift by whole pixels, followed by a horizontal flip if
    /// `is_flipped`. `border` is what is outside of the image.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "numbers between -1 and 1")]
    pub fn new(degrees: f64, [down, right]: [isize; 2], border: Border, is_flipped: bool) -> Self {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let rotation = (degrees != 0.0).then_some(Rotation { sine: sine as f32, cosine: cosine as f32 });
        Self { rotation, down, right, border, is_flipped }
    }

    /// The random transform of sample `index` of the training split in `epoch`, from 0. Returns `None` if the image stays as it is.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "less than a side of an image")]
    pub fn random(augment: &Augment, seed: Seed, epoch: u64, index: u32) -> Option<Self> {
        let (shift, rotation) = (i64::from(augment.shift), augment.rotation.get());
        let index = u64::from(index);
        let is_flipped = match augment.flip {
            Flip::None => false,
            Flip::Horizontal => seed.stream(&format!("flip {epoch}"), index).random_bool(0.5),
            Flip::Alternating => seed.stream("flip", index).random_bool(0.5) == epoch.is_multiple_of(2),
        };
        if shift == 0 && rotation == 0.0 {
            return is_flipped.then(|| Self::new(0.0, [0, 0], augment.border, true));
        }
        let mut rng = seed.stream(&format!("augment {epoch}"), index);
        let degrees = if rotation > 0.0 { rng.random_range(-rotation..=rotation) } else { 0.0 };
        let mut draw = || if shift > 0 { rng.random_range(-shift..=shift) as isize } else { 0 };
        let (down, right) = (draw(), draw());
        Some(Self::new(degrees, [down, right], augment.border, is_flipped))
    }

    /// Appends the pixels of a transformed plane to `out`, row by row. `table` has the normalized value of every byte.
    pub(super) fn apply(self, plane: &[u8], width: usize, table: &[f32; 256], out: &mut Vec<f32>) {
        let begin = out.len();
        match self.rotation {
            Some(rotation) => self.rotated(rotation, plane, width, table, out),
            None => self.shifted(plane, width, table, out),
        }
        if self.is_flipped {
            out[begin..].chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
    }

    /// The value outside of an image that is not reflected.
    fn outside(self, table: &[f32; 256]) -> f32 {
        if self.border == Border::Mean { 0.0 } else { table[0] }
    }

    /// The index of a row or column of an image with `side` of them. Returns `None` outside of an image that is not reflected.
    fn index(self, at: isize, side: usize) -> Option<usize> {
        match at.cast_unsigned() {
            inside if inside < side => Some(inside),
            _ if self.border == Border::Reflect => Some(reflected(at, side)),
            _ => None,
        }
    }

    /// Copies rows: a shift by whole pixels needs no interpolation.
    fn shifted(self, plane: &[u8], width: usize, table: &[f32; 256], out: &mut Vec<f32>) {
        let (height, outside) = (plane.len() / width, self.outside(table));
        // Columns from the image begin at `left`, and come from `first` on.
        let inside = width - self.right.unsigned_abs().min(width);
        let left = self.right.clamp(0, width.cast_signed()).unsigned_abs();
        let first = self.right.saturating_neg().clamp(0, width.cast_signed()).unsigned_abs();
        for row in 0..height.cast_signed() {
            let Some(from) = self.index(row - self.down, height) else {
                out.resize(out.len() + width, outside);
                continue;
            };
            let pixels = &plane[from * width..][..width];
            let value = |pixel: &u8| table[usize::from(*pixel)];
            let column =
                |column: usize| self.index(column.cast_signed() - self.right, width).map_or(outside, |column| value(&pixels[column]));
            out.extend((0..left).map(column));
            out.extend(pixels[first..first + inside].iter().map(value));
            out.extend((left + inside..width).map(column));
        }
    }

    /// Rotates and shifts with bilinear interpolation.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "pixel coordinates")]
    fn rotated(self, Rotation { sine, cosine }: Rotation, plane: &[u8], width: usize, table: &[f32; 256], out: &mut Vec<f32>) {
        let (height, outside) = (plane.len() / width, self.outside(table));
        let [middle_row, middle_column] = [height, width].map(|side| (side as f32 - 1.0) / 2.0);
        let at = |row: f32, column: f32| match (self.index(row as isize, height), self.index(column as isize, width)) {
            (Some(row), Some(column)) => table[usize::from(plane[row * width + column])],
            _ => outside,
        };
        for row in 0..height {
            for column in 0..width {
                let (y, x) = (row as f32 - middle_row - self.down as f32, column as f32 - middle_column - self.right as f32);
                let (from_y, from_x) = (cosine * y - sine * x + middle_row, sine * y + cosine * x + middle_column);
                let (top, left) = (from_y.floor(), from_x.floor());
                let (low, far) = (from_y - top, from_x - left);
                let upper = at(top, left) * (1.0 - far) + at(top, left + 1.0) * far;
                let lower = at(top + 1.0, left) * (1.0 - far) + at(top + 1.0, left + 1.0) * far;
                out.push(upper * (1.0 - low) + lower * low);
            }
        }
    }
}

/// The index of a row or column outside, reflected at the outermost one, which is not repeated: 3 2 1 0 1 2 3 2 1 …
fn reflected(at: isize, side: usize) -> usize {
    let last = side.cast_signed() - 1;
    if last == 0 {
        return 0;
    }
    (last - (at.rem_euclid(2 * last) - last).abs()).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Experiment;

    /// Bytes as they are, but 1000 for black.
    #[expect(clippy::cast_precision_loss, reason = "bytes")]
    fn apply(transform: Transform, plane: &[u8], width: usize) -> Vec<f32> {
        let mut table = std::array::from_fn(|byte| byte as f32);
        table[0] = 1000.0;
        let mut out = vec![7.0];
        transform.apply(plane, width, &table, &mut out);
        assert!((out[0] - 7.0).abs() < f32::EPSILON, "planes before it stay as they are");
        out.split_off(1)
    }

    fn shifted(down: isize, right: isize, border: Border) -> Transform {
        Transform::new(0.0, [down, right], border, false)
    }

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-3);
        assert!(near, "{found:?} is not {expected:?}");
    }

    const NINE: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn shifts_and_rotations_by_hand() {
        let black = 1000.0;
        assert_eq!(apply(shifted(1, -1, Border::Black), &NINE, 3), [black, black, black, 2.0, 3.0, black, 5.0, 6.0, black]);
        assert_eq!(apply(shifted(-1, 2, Border::Mean), &NINE, 3), [0.0, 0.0, 4.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0]);
        for far in [3, 9, -3, -9] {
            assert_eq!(apply(shifted(far, 0, Border::Black), &NINE, 3), [black; 9]);
            assert_eq!(apply(shifted(0, far, Border::Black), &NINE, 3), [black; 9]);
        }
        // A rotation by 90° from x (right) to y (down) moves the top row to the right column.
        close(&apply(Transform::new(90.0, [0, 0], Border::Black, false), &NINE, 3), &[7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0]);
    }

    #[test]
    fn a_reflection_does_not_repeat_the_border() {
        // numpy.pad([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 2, mode="reflect")[1:4, 4:7] and [4:7, 1:4], as PyTorch's `reflect`.
        assert_eq!(apply(shifted(1, -2, Border::Reflect), &NINE, 3), [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(apply(shifted(-2, 1, Border::Reflect), &NINE, 3), [8.0, 7.0, 8.0, 5.0, 4.0, 5.0, 2.0, 1.0, 2.0]);
        assert_eq!([-4, -3, -1, 0, 2, 3, 4, 5].map(|at| reflected(at, 3)), [0, 1, 1, 0, 2, 1, 0, 1]);
        assert_eq!([-2, 1, 5].map(|at| reflected(at, 1)), [0; 3]);
    }

    #[test]
    fn a_flip_comes_last() {
        let flipped = |down, right| Transform::new(0.0, [down, right], Border::Mean, true);
        assert_eq!(apply(flipped(0, 0), &NINE, 3), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0, 9.0, 8.0, 7.0]);
        assert_eq!(apply(flipped(0, 1), &NINE, 3), [2.0, 1.0, 0.0, 5.0, 4.0, 0.0, 8.0, 7.0, 0.0]);
    }

    const TWELVE: [u8; 12] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];

    #[test]
    fn a_rotation_by_30_degrees_is_scipys() {
        // scipy.ndimage.affine_transform(plane, [[c, -s], [s, c]], offset=m - [[c, -s], [s, c]] @ (m + shift), order=1,
        // mode="grid-constant" or "mirror") with m = [1, 1.5] and shift = [1, -2].
        let rotated = |shift, border| apply(Transform::new(30.0, shift, border, false), &TWELVE, 4);
        let expected = [31.7949, 31.0289, 21.5072, 12.6675, 82.0096, 70.6699, 59.3301, 47.9904, 37.2492, 93.4095, 98.9711, 59.3301];
        close(&rotated([0, 0], Border::Mean), &expected);
        close(
            &rotated([0, 0], Border::Reflect),
            &[48.3494, 31.0289, 28.9711, 57.6314, 82.0096, 70.6699, 59.3301, 47.9904, 72.3686, 101.0289, 98.9711, 81.6506],
        );
        close(&rotated([1, -2], Border::Mean), &[0.347, 0.0, 0.0, 0.0, 21.5072, 12.6675, 0.0, 0.0, 59.3301, 47.9904, 10.0481, 0.0]);
        close(
            &rotated([1, -2], Border::Reflect),
            &[58.6122, 87.2724, 115.9327, 95.4071, 28.9711, 57.6314, 82.9904, 94.3301, 59.3301, 47.9904, 43.3494, 54.6891],
        );
    }

    fn augment(keys: &str) -> Augment {
        let config = format!("name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[augment]\n{keys}\n");
        Experiment::from_toml(&config).unwrap().augment
    }

    /// Whether each of 1,000 images is flipped in `epoch`.
    fn flips(keys: &str, epoch: u64) -> Vec<bool> {
        let augment = augment(keys);
        (0..1000).map(|index| Transform::random(&augment, Seed(3), epoch, index).is_some_and(|transform| transform.is_flipped)).collect()
    }

    #[test]
    fn an_alternating_flip_is_in_every_second_epoch() {
        let [first, second, third] = [0, 1, 2].map(|epoch| flips("flip = \"alternating\"", epoch));
        let flipped = first.iter().filter(|is_flipped| **is_flipped).count();
        // Three deviations of a binomial distribution: √(1000/4) = 16.
        assert!((452..=548).contains(&flipped), "{flipped}");
        assert!(first.iter().zip(&second).all(|(one, other)| one != other));
        assert_eq!(first, third);
    }

    #[test]
    fn a_horizontal_flip_is_random_in_every_epoch_and_apart_from_shifts() {
        let [first, second] = [0, 1].map(|epoch| flips("flip = \"horizontal\"", epoch));
        for flips in [&first, &second] {
            let flipped = flips.iter().filter(|is_flipped| **is_flipped).count();
            assert!((452..=548).contains(&flipped), "{flipped}");
        }
        let same = first.iter().zip(&second).filter(|(one, other)| one == other).count();
        assert!((452..=548).contains(&same), "{same}");
        assert_eq!(flips("flip = \"horizontal\"\nshift = 2\nrotation = 5.0", 0), first);
        assert!(!flips("shift = 2", 0).contains(&true));
        assert_eq!(Transform::random(&augment(""), Seed(3), 0, 0), None);
    }

    #[test]
    fn shifts_are_uniform() {
        let augment = augment("shift = 2");
        let mut counts = [0_u32; 25];
        for index in 0..10_000 {
            let Some(Transform { down: down @ -2..=2, right: right @ -2..=2, .. }) = Transform::random(&augment, Seed(3), 1, index) else {
                panic!("a shift out of range");
            };
            counts[((down + 2) * 5 + right + 2).unsigned_abs()] += 1;
        }
        // Pearson's χ² with 24 degrees of freedom is below 51.2 with probability 0.999.
        let statistic: f64 = counts.iter().map(|count| (f64::from(*count) - 400.0).powi(2) / 400.0).sum();
        assert!(statistic < 51.2, "{statistic}");
    }
}
