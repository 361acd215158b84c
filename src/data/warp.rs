//! Rotations and shifts of training images.

use super::Shape;
use crate::config::Border;

/// A rotation around the centre of an image, followed by a shift by whole pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Warp {
    rotation: Option<Rotation>,
    down: isize,
    right: isize,
    border: Border,
}

/// The sine and cosine of an angle.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rotation {
    sine: f32,
    cosine: f32,
}

/// One channel of an image to be warped.
pub(super) struct Plane<Value> {
    /// The shape of the image.
    pub(super) shape: Shape,
    /// The value of a pixel, row by row.
    pub(super) value: Value,
    /// The value of black.
    pub(super) black: f32,
    /// The mean of the training images.
    pub(super) mean: f32,
}

impl Warp {
    /// A rotation by `degrees` from the x-axis to the y-axis, which points down, followed by a shift. `border` is what is outside of the image.
    #[expect(clippy::cast_possible_truncation, reason = "numbers between -1 and 1")]
    pub(super) fn new(degrees: f64, [down, right]: [isize; 2], border: Border) -> Self {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let rotation = (degrees != 0.0).then_some(Rotation { sine: sine as f32, cosine: cosine as f32 });
        Self { rotation, down, right, border }
    }

    /// Whether it leaves an image as it is.
    pub(super) fn is_identity(self) -> bool {
        self.rotation.is_none() && self.down == 0 && self.right == 0
    }

    /// The rows and columns of the shift: down, right.
    #[cfg(test)]
    pub(super) fn shift(self) -> [isize; 2] {
        [self.down, self.right]
    }

    /// Appends the values of a warped plane to `out`, row by row.
    pub(super) fn apply(self, plane: &Plane<impl Fn(usize) -> f32>, out: &mut Vec<f32>) {
        let outside = if self.border == Border::Mean { plane.mean } else { plane.black };
        match self.rotation {
            Some(rotation) => self.rotated(rotation, plane, outside, out),
            None => self.shifted(plane, outside, out),
        }
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
    fn shifted(self, plane: &Plane<impl Fn(usize) -> f32>, outside: f32, out: &mut Vec<f32>) {
        let Shape { height, width, .. } = plane.shape;
        // Columns from the image begin at `left`, and come from `first` on.
        let inside = width - self.right.unsigned_abs().min(width);
        let left = self.right.clamp(0, width.cast_signed()).unsigned_abs();
        let first = self.right.saturating_neg().clamp(0, width.cast_signed()).unsigned_abs();
        for row in 0..height.cast_signed() {
            let Some(from) = self.index(row - self.down, height) else {
                out.resize(out.len() + width, outside);
                continue;
            };
            let begin = from * width;
            let column = |column: usize| {
                self.index(column.cast_signed() - self.right, width).map_or(outside, |column| (plane.value)(begin + column))
            };
            out.extend((0..left).map(column));
            out.extend((begin + first..begin + first + inside).map(&plane.value));
            out.extend((left + inside..width).map(column));
        }
    }

    /// Rotates and shifts with bilinear interpolation.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "pixel coordinates")]
    fn rotated(self, Rotation { sine, cosine }: Rotation, plane: &Plane<impl Fn(usize) -> f32>, outside: f32, out: &mut Vec<f32>) {
        let Shape { height, width, .. } = plane.shape;
        let [middle_row, middle_column] = [height, width].map(|side| (side as f32 - 1.0) / 2.0);
        let at = |row: f32, column: f32| match (self.index(row as isize, height), self.index(column as isize, width)) {
            (Some(row), Some(column)) => (plane.value)(row * width + column),
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

    fn apply(warp: Warp, pixels: &[f32], width: usize) -> Vec<f32> {
        let shape = Shape { channels: 1, height: pixels.len() / width, width };
        let mut out = vec![7.0];
        warp.apply(&Plane { shape, value: |at: usize| pixels[at], black: 1000.0, mean: 0.0 }, &mut out);
        assert!((out[0] - 7.0).abs() < f32::EPSILON, "planes before it stay as they are");
        out.split_off(1)
    }

    fn shifted(down: isize, right: isize, border: Border) -> Vec<f32> {
        apply(Warp::new(0.0, [down, right], border), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 3)
    }

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-3);
        assert!(near, "{found:?} is not {expected:?}");
    }

    #[test]
    fn shifts_and_rotations_by_hand() {
        let black = 1000.0;
        assert_eq!(shifted(1, -1, Border::Black), [black, black, black, 2.0, 3.0, black, 5.0, 6.0, black]);
        assert_eq!(shifted(-1, 2, Border::Mean), [0.0, 0.0, 4.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0]);
        for far in [3, 9, -3, -9] {
            assert_eq!(shifted(far, 0, Border::Black), [black; 9]);
            assert_eq!(shifted(0, far, Border::Black), [black; 9]);
        }
        // A rotation by 90° from x (right) to y (down) moves the top row to the right column.
        let turned = apply(Warp::new(90.0, [0, 0], Border::Black), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 3);
        close(&turned, &[7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0]);
    }

    #[test]
    fn a_reflection_does_not_repeat_the_border() {
        // numpy.pad([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 2, mode="reflect")[1:4, 4:7] and [4:7, 1:4], as PyTorch's `reflect`.
        assert_eq!(shifted(1, -2, Border::Reflect), [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        assert_eq!(shifted(-2, 1, Border::Reflect), [8.0, 7.0, 8.0, 5.0, 4.0, 5.0, 2.0, 1.0, 2.0]);
        assert_eq!([-4, -3, -1, 0, 2, 3, 4, 5].map(|at| reflected(at, 3)), [0, 1, 1, 0, 2, 1, 0, 1]);
        assert_eq!([-2, 1, 5].map(|at| reflected(at, 1)), [0; 3]);
    }

    #[test]
    fn a_rotation_by_30_degrees_is_scipys() {
        // scipy.ndimage.affine_transform(plane, [[c, -s], [s, c]], offset=m - [[c, -s], [s, c]] @ (m + shift), order=1,
        // mode="grid-constant" or "mirror") with m = [1, 1.5] and shift = [1, -2].
        let plane = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0];
        let rotated = |shift, border| apply(Warp::new(30.0, shift, border), &plane, 4);
        close(
            &rotated([0, 0], Border::Mean),
            &[31.7949, 31.0289, 21.5072, 12.6675, 82.0096, 70.6699, 59.3301, 47.9904, 37.2492, 93.4095, 98.9711, 59.3301],
        );
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
}
