//! Random changes of brightness, contrast, saturation and hue of training images.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::config::Augment;

/// The shares of red, green and blue in grey that torchvision uses (ITU-R BT.601).
const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// Changes of the colours of an image, one after the other, as torchvision's `ColorJitter`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ColourJitter([Option<Change>; 4]);

/// A change of brightnesses between 0 and 1. Results are cut off to that range.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    /// Multiplies by a factor.
    Brightness(f32),
    /// Multiplies the difference to the mean grey of the image by a factor.
    Contrast(f32),
    /// Multiplies the difference to the grey of the pixel by a factor.
    Saturation(f32),
    /// Turns the hue by a part of the colour circle.
    Hue(f32),
}

impl ColourJitter {
    /// Random changes in random order. Factors are uniform between max(0, 1 − n) and 1 + n for a key n, the turn of the hue between −n and n.
    #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
    pub(super) fn random(augment: &Augment, rng: &mut ChaCha8Rng) -> Self {
        let mut factor =
            |key: f64, change: fn(f32) -> Change| (key > 0.0).then(|| change(rng.random_range((1.0 - key).max(0.0)..=1.0 + key) as f32));
        let brightness = factor(augment.brightness.get(), Change::Brightness);
        let contrast = factor(augment.contrast.get(), Change::Contrast);
        let saturation = factor(augment.saturation.get(), Change::Saturation);
        let hue = augment.hue.get();
        let hue = (hue > 0.0).then(|| Change::Hue(rng.random_range(-hue..=hue) as f32));
        let mut changes = [brightness, contrast, saturation, hue];
        changes.shuffle(rng);
        Self(changes)
    }

    /// Changes the brightnesses of an image `[channel, row, column]` of `channels` channels.
    pub(super) fn apply(self, values: &mut [f32], channels: usize) {
        self.0.into_iter().flatten().for_each(|change| change.apply(values, channels));
    }
}

impl Change {
    fn apply(self, values: &mut [f32], channels: usize) {
        let area = values.len() / channels;
        match self {
            Self::Brightness(factor) => values.iter_mut().for_each(|value| *value = blended(*value, 0.0, factor)),
            Self::Contrast(factor) => {
                let grey = mean_grey(values, channels);
                values.iter_mut().for_each(|value| *value = blended(*value, grey, factor));
            }
            Self::Saturation(factor) => each_pixel(values, area, |pixel| {
                let grey = grey(pixel);
                pixel.map(|value| blended(value, grey, factor))
            }),
            Self::Hue(turn) => each_pixel(values, area, |pixel| turned(pixel, turn)),
        }
    }
}

/// `value` times `factor`, with the rest of `other`.
fn blended(value: f32, other: f32, factor: f32) -> f32 {
    (factor * value + (1.0 - factor) * other).clamp(0.0, 1.0)
}

/// The mean grey of an image; for an image without red, green and blue the mean of all its values.
#[expect(clippy::cast_possible_truncation, reason = "between 0 and 1")]
fn mean_grey(values: &[f32], channels: usize) -> f32 {
    let area = values.len() / channels;
    let sum_of = |plane: &[f32]| plane.iter().map(|value| f64::from(*value)).sum::<f64>();
    let planes = values.chunks_exact(area);
    let sum: f64 = if channels == GREY.len() {
        planes.zip(GREY).map(|(plane, share)| f64::from(share) * sum_of(plane)).sum()
    } else {
        planes.map(sum_of).sum::<f64>() / channels as f64
    };
    (sum / area as f64) as f32
}

fn grey(pixel: [f32; 3]) -> f32 {
    pixel.iter().zip(GREY).map(|(value, share)| value * share).sum()
}

/// Changes every pixel of a colour image.
fn each_pixel(values: &mut [f32], area: usize, change: impl Fn([f32; 3]) -> [f32; 3]) {
    let (red, others) = values.split_at_mut(area);
    let (green, blue) = others.split_at_mut(area);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = change([*red, *green, *blue]);
    }
}

/// A colour whose hue is turned by `turn` of the colour circle, with the value and saturation it had (HSV).
fn turned([red, green, blue]: [f32; 3], turn: f32) -> [f32; 3] {
    let value = red.max(green).max(blue);
    let chroma = value - red.min(green).min(blue);
    if chroma == 0.0 {
        return [red, green, blue];
    }
    // In sixths of the circle, from red.
    let hue = if red >= value {
        (green - blue) / chroma
    } else if green >= value {
        (blue - red) / chroma + 2.0
    } else {
        (red - green) / chroma + 4.0
    };
    let hue = (hue + 6.0 * turn).rem_euclid(6.0);
    // A channel falls from the value to the value − chroma and rises again, each within a sixth.
    [5.0, 3.0, 1.0].map(|sixth: f32| {
        let position = (sixth + hue).rem_euclid(6.0);
        value - chroma * position.min(4.0 - position).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Experiment;
    use crate::seed::Seed;

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 2e-5);
        assert!(near, "{found:?} is not {expected:?}");
    }

    fn changed(change: Change, values: &[f32], channels: usize) -> Vec<f32> {
        let mut values = values.to_vec();
        change.apply(&mut values, channels);
        values
    }

    // Two pixels: (0.2, 0.4, 0.9) and (0.6, 0.5, 0.1).
    const TWO: [f32; 6] = [0.2, 0.6, 0.4, 0.5, 0.9, 0.1];

    #[test]
    fn changes_are_torchvisions() {
        // From `tests/fixtures/augmentation.py`.
        for (change, expected) in [
            (Change::Brightness(1.5), [0.3, 0.9, 0.6, 0.75, 1.0, 0.15]),
            (Change::Contrast(0.5), [0.320_355, 0.520_355, 0.420_355, 0.470_355, 0.670_355, 0.270_355]),
            (Change::Contrast(2.0), [0.0, 0.759_29, 0.359_29, 0.559_29, 1.0, 0.0]),
            (Change::Saturation(0.5), [0.298_59, 0.542_12, 0.398_59, 0.492_12, 0.648_59, 0.292_12]),
            (Change::Saturation(1.8), [0.042_256, 0.692_608, 0.402_256, 0.512_608, 1.0, 0.0]),
            (Change::Hue(0.1), [0.42, 0.4, 0.2, 0.6, 0.9, 0.1]),
            (Change::Hue(-0.3), [0.26, 0.6, 0.9, 0.1, 0.2, 0.6]),
            (Change::Hue(0.5), [0.9, 0.1, 0.7, 0.2, 0.2, 0.6]),
        ] {
            close(&changed(change, &TWO, 3), &expected);
        }
        // Grey pixels have no hue.
        close(&changed(Change::Hue(0.3), &[0.5; 3], 3), &[0.5; 3]);
        // Grey images have contrast only: 0.25 and 0.75 around 0.5.
        close(&changed(Change::Contrast(0.5), &[0.25, 0.75], 1), &[0.375, 0.625]);
    }

    fn augment(keys: &str) -> Augment {
        let config = format!("name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[augment]\n{keys}\n");
        Experiment::from_toml(&config).unwrap().augment
    }

    #[test]
    fn factors_and_order_are_random() {
        let mut rng = Seed(2).stream("colour", 0);
        let augment = augment("brightness = 0.4\nhue = 0.1");
        let (mut first, mut sum) = (0, 0.0);
        for _ in 0..1000 {
            let ColourJitter(changes) = ColourJitter::random(&augment, &mut rng);
            let changes: Vec<Change> = changes.into_iter().flatten().collect();
            let (factor, turn) = match changes[..] {
                [Change::Brightness(factor), Change::Hue(turn)] => {
                    first += 1;
                    (factor, turn)
                }
                [Change::Hue(turn), Change::Brightness(factor)] => (factor, turn),
                _ => panic!("{changes:?}"),
            };
            assert!((0.6..=1.4).contains(&factor) && (-0.1..=0.1).contains(&turn), "{factor}, {turn}");
            sum += f64::from(factor);
        }
        // Three deviations: of a binomial distribution √(1000/4) = 16, of the mean of uniform numbers 0.8/√12/√1000 = 0.0073.
        assert!((452..=548).contains(&first) && (sum / 1000.0 - 1.0).abs() < 0.022, "{first}, {sum}");
    }
}
