//! Data augmentation: random changes of training images.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::colour_jitter::ColourJitter;
use super::resized_crop::ResizedCrop;
use super::warp::{Plane, Warp};
use super::{Normalizer, Shape};
use crate::config::{Augment, Flip};
use crate::seed::Seed;

/// The random changes of one image: a resized crop, rotation and shift, a flip, changes of its colours, and a square that is cut out, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    crop: Option<ResizedCrop>,
    warp: Warp,
    is_flipped: bool,
    jitter: Option<ColourJitter>,
    cutout: Option<Cutout>,
}

/// The rows and columns of a square that is cut out, clipped at the border of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cutout {
    rows: [usize; 2],
    columns: [usize; 2],
}

/// The values that pixels get.
#[derive(Clone, Copy)]
pub(super) struct PixelValues<'a> {
    /// The normalized value of every byte, channel by channel.
    pub(super) tables: &'a [[f32; 256]],
    /// What the tables are made by.
    pub(super) normalizer: &'a Normalizer,
}

impl Transform {
    /// The random transform of sample `index` of the training split, an image of shape `shape`, in `epoch`, from 0. Returns `None` if the image stays as it is.
    ///
    /// Every part has a random stream of its own: one more does not change what the others draw.
    #[must_use]
    pub fn random(augment: &Augment, shape: Shape, seed: Seed, epoch: u64, index: u32) -> Option<Self> {
        let stream = |purpose: &str| seed.stream(&format!("{purpose} {epoch}"), index.into());
        let (scale, ratio) = (augment.crop_scale.get(), augment.crop_ratio.get());
        let (shift, rotation) = (augment.shift, augment.rotation.get());
        let transform = Self {
            crop: (scale < 1.0).then(|| ResizedCrop::random(scale, ratio, shape, &mut stream("crop"))),
            warp: if shift > 0 || rotation > 0.0 {
                let mut rng = stream("augment");
                let degrees = if rotation > 0.0 { rng.random_range(-rotation..=rotation) } else { 0.0 };
                let shift = [drawn(shift, &mut rng), drawn(shift, &mut rng)];
                Warp::new(degrees, shift, augment.border)
            } else {
                Warp::new(0.0, [0, 0], augment.border)
            },
            is_flipped: match augment.flip {
                Flip::None => false,
                Flip::Horizontal => stream("flip").random_bool(0.5),
                Flip::Alternating => seed.stream("flip", index.into()).random_bool(0.5) == epoch.is_multiple_of(2),
            },
            jitter: augment.changes_colours().then(|| ColourJitter::random(augment, &mut stream("colour"))),
            cutout: (augment.cutout > 0).then(|| Cutout::random(augment.cutout as usize, shape, &mut stream("cutout"))),
        };
        (!transform.is_identity()).then_some(transform)
    }

    fn is_identity(&self) -> bool {
        let Self { crop, warp, is_flipped, jitter, cutout } = self;
        crop.is_none() && warp.is_identity() && !is_flipped && jitter.is_none() && cutout.is_none()
    }

    /// Appends the values of a transformed image `[channel, row, column]` to `out`.
    #[expect(clippy::cast_possible_truncation, reason = "brightnesses and normalized values, as the network's float")]
    pub(super) fn apply(&self, image: &[u8], shape: Shape, pixels: PixelValues, out: &mut Vec<f32>) {
        let Shape { channels, height, width } = shape;
        let (area, begin) = (height * width, out.len());
        let PixelValues { tables, normalizer } = pixels;
        for ((bytes, table), mean) in image.chunks_exact(area).zip(tables).zip(&normalizer.mean) {
            if self.jitter.is_some() {
                // Colours change before they are normalized.
                self.placed(Plane { shape, value: |at: usize| f32::from(bytes[at]) / 255.0, black: 0.0, mean: *mean as f32 }, out);
            } else {
                self.placed(Plane { shape, value: |at: usize| table[usize::from(bytes[at])], black: table[0], mean: 0.0 }, out);
            }
        }
        let values = &mut out[begin..];
        if let Some(jitter) = self.jitter {
            jitter.apply(values, channels);
            for (plane, (mean, deviation)) in values.chunks_exact_mut(area).zip(normalizer.mean.iter().zip(&normalizer.deviation)) {
                plane.iter_mut().for_each(|value| *value = ((f64::from(*value) - mean) / deviation) as f32);
            }
        }
        if let Some(Cutout { rows, columns }) = self.cutout {
            for row in values.chunks_exact_mut(area).flat_map(|plane| plane[rows[0] * width..rows[1] * width].chunks_exact_mut(width)) {
                row[columns[0]..columns[1]].fill(0.0);
            }
        }
    }

    /// Appends a plane that is cropped, warped and flipped.
    fn placed(&self, plane: Plane<impl Fn(usize) -> f32>, out: &mut Vec<f32>) {
        let (begin, width) = (out.len(), plane.shape.width);
        match self.crop {
            None => self.warp.apply(&plane, out),
            Some(crop) => {
                let Plane { shape, value, black, mean } = plane;
                let cropped = crop.resized(shape, value);
                self.warp.apply(&Plane { shape, value: |at: usize| cropped[at], black, mean }, out);
            }
        }
        if self.is_flipped {
            out[begin..].chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
    }
}

impl Cutout {
    /// A square of `side` rows and columns around a random pixel (`DeVries` and Taylor 2017, arXiv 1708.04552).
    fn random(side: usize, Shape { height, width, .. }: Shape, rng: &mut ChaCha8Rng) -> Self {
        let mut range = |length: usize| {
            let centre = usize::try_from(rng.random_range(0..length as u64)).unwrap_or_default();
            [centre.saturating_sub(side / 2), (centre + side).saturating_sub(side / 2).min(length)]
        };
        Self { rows: range(height), columns: range(width) }
    }
}

/// A random number of pixels up to `largest`, to either side.
fn drawn(largest: u32, rng: &mut ChaCha8Rng) -> isize {
    let largest = i64::from(largest);
    if largest > 0 { isize::try_from(rng.random_range(-largest..=largest)).unwrap_or_default() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Experiment;

    const SHAPE: Shape = Shape { channels: 1, height: 10, width: 10 };

    fn augment(keys: &str) -> Augment {
        let config = format!("name = \"a\"\n[data]\nsource = \"mnist_mini\"\nnormalization = \"standard\"\n[augment]\n{keys}\n");
        Experiment::from_toml(&config).unwrap().augment
    }

    fn random(keys: &str, epoch: u64, count: u32) -> Vec<Option<Transform>> {
        let augment = augment(keys);
        (0..count).map(|index| Transform::random(&augment, SHAPE, Seed(3), epoch, index)).collect()
    }

    /// Whether each of 1,000 images is flipped in `epoch`.
    fn flips(keys: &str, epoch: u64) -> Vec<bool> {
        random(keys, epoch, 1000).iter().map(|transform| transform.is_some_and(|transform| transform.is_flipped)).collect()
    }

    fn count(flips: &[bool]) -> usize {
        flips.iter().filter(|is_flipped| **is_flipped).count()
    }

    #[test]
    fn an_alternating_flip_is_in_every_second_epoch() {
        let [first, second, third] = [0, 1, 2].map(|epoch| flips("flip = \"alternating\"", epoch));
        // Three deviations of a binomial distribution: √(1000/4) = 16.
        assert!((452..=548).contains(&count(&first)), "{}", count(&first));
        assert!(first.iter().zip(&second).all(|(one, other)| one != other));
        assert_eq!(first, third);
    }

    #[test]
    fn a_horizontal_flip_is_random_in_every_epoch_and_apart_from_the_rest() {
        let [first, second] = [0, 1].map(|epoch| flips("flip = \"horizontal\"", epoch));
        let same: Vec<bool> = first.iter().zip(&second).map(|(one, other)| one == other).collect();
        for flips in [&first, &second, &same] {
            assert!((452..=548).contains(&count(flips)), "{}", count(flips));
        }
        assert_eq!(flips("flip = \"horizontal\"\nshift = 2\nrotation = 5.0\ncutout = 2", 0), first);
        assert!(!flips("shift = 2", 0).contains(&true));
        assert_eq!(random("", 0, 1), [None]);
    }

    #[test]
    fn shifts_are_uniform() {
        let mut counts = [0_u32; 25];
        for transform in random("shift = 2", 1, 10_000) {
            let [down, right] = transform.map_or([0, 0], |transform| transform.warp.shift());
            assert!(down.abs() <= 2 && right.abs() <= 2, "{down}, {right}");
            counts[((down + 2) * 5 + right + 2).unsigned_abs()] += 1;
        }
        // Pearson's χ² with 24 degrees of freedom is below 51.2 with probability 0.999.
        let statistic: f64 = counts.iter().map(|count| (f64::from(*count) - 400.0).powi(2) / 400.0).sum();
        assert!(statistic < 51.2, "{statistic}");
    }

    #[test]
    fn a_cutout_is_clipped_at_the_border() {
        let cutouts: Vec<Cutout> = random("cutout = 4", 0, 4000).into_iter().filter_map(|transform| transform?.cutout).collect();
        assert_eq!(cutouts.len(), 4000);
        // With its centre in row r it begins in row r - 2: of 10 rows it has 2, 3, 4, … 4, 3.
        let mut sizes = [0_u32; 5];
        for Cutout { rows, columns } in &cutouts {
            assert!(rows[1] <= 10 && columns[1] <= 10);
            sizes[rows[1] - rows[0]] += 1;
        }
        // Probabilities 0.1, 0.2 and 0.7, within three deviations.
        assert!((343..=457).contains(&sizes[2]) && (724..=876).contains(&sizes[3]) && (2713..=2887).contains(&sizes[4]), "{sizes:?}");
        let odd = Cutout::random(3, Shape { channels: 1, height: 1, width: 1 }, &mut Seed(1).stream("cutout", 0));
        assert_eq!(odd, Cutout { rows: [0, 1], columns: [0, 1] });
    }

    fn apply(transform: &Transform, image: &[u8], shape: Shape, normalizer: &Normalizer) -> Vec<f32> {
        let mut out = vec![7.0];
        transform.apply(image, shape, PixelValues { tables: &normalizer.table(), normalizer }, &mut out);
        out.split_off(1)
    }

    #[test]
    fn a_flip_follows_the_shift_and_a_cutout_comes_last() {
        let shape = Shape { channels: 2, height: 2, width: 3 };
        // 255 becomes 1, 0 becomes -1; in the other channel as they are.
        let normalizer = Normalizer { mean: vec![0.5, 0.0], deviation: vec![0.5, 1.0] };
        let image = [0, 255, 255, 255, 0, 255, 255, 255, 0, 0, 0, 255];
        let shifted = Transform {
            crop: None,
            warp: Warp::new(0.0, [0, 1], crate::config::Border::Black),
            is_flipped: true,
            jitter: None,
            cutout: Some(Cutout { rows: [1, 2], columns: [1, 3] }),
        };
        // Shifted: -1 -1 1 | -1 1 -1 and 0 1 1 | 0 0 0. Flipped: 1 -1 -1 | -1 1 -1 and 1 1 0 | 0 0 0.
        assert_eq!(apply(&shifted, &image, shape, &normalizer), [1.0, -1.0, -1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn colours_change_before_they_are_normalized() {
        let keys = "shift = 3\nborder = \"mean\"\nbrightness = 0.5";
        let normalizer = Normalizer { mean: vec![0.4], deviation: vec![0.25] };
        let image = [51; 100];
        for transform in random(keys, 0, 50).into_iter().flatten() {
            let jitter = transform.jitter.unwrap();
            let mut expected = [0.2, 0.4];
            jitter.apply(&mut expected, 1);
            let expected = expected.map(|value| (value - 0.4) / 0.25);
            let [down, right] = transform.warp.shift().map(isize::unsigned_abs);
            let found = apply(&transform, &image, SHAPE, &normalizer);
            let of = |expected: f32| found.iter().filter(|value| (**value - expected).abs() < 1e-5).count();
            let inside = (10 - down) * (10 - right);
            assert_eq!([of(expected[0]), of(expected[1])], [inside, 100 - inside]);
        }
    }
}
