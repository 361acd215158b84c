//! Data augmentation: random rotations and shifts of training images.

use rand::RngExt;

use crate::config::Augment;
use crate::seed::Seed;

/// A rotation around the centre of an image, followed by a shift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    sine: f32,
    cosine: f32,
    down: f32,
    right: f32,
}

impl Transform {
    /// A rotation by `degrees` from the x-axis to the y-axis, which points down, followed by a shift by whole pixels.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "pixel coordinates")]
    pub fn new(degrees: f64, down: i64, right: i64) -> Self {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        Self { sine: sine as f32, cosine: cosine as f32, down: down as f32, right: right as f32 }
    }

    /// The random transform of sample `index` of the training split in `epoch`. Returns `None` if shift and rotation are 0.
    #[must_use]
    pub fn random(augment: &Augment, seed: Seed, epoch: u64, index: u32) -> Option<Self> {
        let (shift, rotation) = (i64::from(augment.shift), augment.rotation.get());
        if shift == 0 && rotation == 0.0 {
            return None;
        }
        let mut rng = seed.stream(&format!("augment {epoch}"), u64::from(index));
        let degrees = if rotation > 0.0 { rng.random_range(-rotation..=rotation) } else { 0.0 };
        let mut draw = || if shift > 0 { rng.random_range(-shift..=shift) } else { 0 };
        let (down, right) = (draw(), draw());
        Some(Self::new(degrees, down, right))
    }

    /// Appends the pixels of a transformed plane to `out`, row by row, with bilinear interpolation; outside of the image is black. `table` has the
    /// normalized value of every byte.
    pub(super) fn apply(self, plane: &[u8], width: usize, table: &[f32; 256], out: &mut Vec<f32>) {
        let height = plane.len() / width;
        let [middle_row, middle_column] = [height, width].map(|side| (side as f32 - 1.0) / 2.0);
        let [rows, columns] = [height, width].map(usize::cast_signed);
        #[expect(clippy::cast_possible_truncation, reason = "floors of pixel coordinates")]
        let at = |row: f32, column: f32| {
            let (row, column) = (row as isize, column as isize);
            let is_inside = (0..rows).contains(&row) && (0..columns).contains(&column);
            table[if is_inside { usize::from(plane[row.unsigned_abs() * width + column.unsigned_abs()]) } else { 0 }]
        };
        for row in 0..height {
            for column in 0..width {
                let (y, x) = (row as f32 - middle_row - self.down, column as f32 - middle_column - self.right);
                let (from_y, from_x) = (self.cosine * y - self.sine * x + middle_row, self.sine * y + self.cosine * x + middle_column);
                let (top, left) = (from_y.floor(), from_x.floor());
                let (low, far) = (from_y - top, from_x - left);
                let upper = at(top, left) * (1.0 - far) + at(top, left + 1.0) * far;
                let lower = at(top + 1.0, left) * (1.0 - far) + at(top + 1.0, left + 1.0) * far;
                out.push(upper * (1.0 - low) + lower * low);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "bytes")]
    fn apply(transform: Transform, plane: &[u8], width: usize) -> Vec<f32> {
        let table = std::array::from_fn(|byte| byte as f32);
        let mut out = Vec::new();
        transform.apply(plane, width, &table, &mut out);
        out
    }

    #[test]
    fn shifts_and_rotations_by_hand() {
        let plane = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(apply(Transform::new(0.0, 1, -1), &plane, 3), [0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0]);
        // A rotation by 90° from x (right) to y (down) moves the top row to the right column.
        let rotated = apply(Transform::new(90.0, 0, 0), &plane, 3);
        for (found, expected) in rotated.iter().zip([7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0]) {
            assert!((found - expected).abs() < 1e-4, "{rotated:?}");
        }
        assert_eq!(apply(Transform::new(0.0, 9, 0), &plane, 3), [0.0; 9]);
    }

    #[test]
    fn a_rotation_by_30_degrees_is_scipys() {
        // scipy.ndimage.affine_transform(plane, [[c, -s], [s, c]], offset=m - [[c, -s], [s, c]] @ m, order=1,
        // mode="grid-constant") with m = [1, 1.5].
        let plane = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120];
        let found = apply(Transform::new(30.0, 0, 0), &plane, 4);
        let expected = [31.7949, 31.0289, 21.5072, 12.6675, 82.0096, 70.6699, 59.3301, 47.9904, 37.2492, 93.4095, 98.9711, 59.3301];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
        }
    }
}
