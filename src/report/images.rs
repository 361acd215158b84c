//! Samples and pictures as images, and the filters of the first layer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use regulus_model::Values;
use regulus_model::graph::{Parameter, Role};

use super::page::{image, number, text};
use super::run_files::RunFiles;
use crate::data::{Picture, Shape};
use crate::numbers::{loss, metric_value, percent};
use crate::session::{EvaluatedPicture, EvaluatedSample};

/// The largest number of filters.
const FILTERS: usize = 64;

/// A list of samples. `key` names it in the numbers.
pub(super) fn samples(key: &str, samples: &[EvaluatedSample]) -> Markup {
    let name = |sample: &EvaluatedSample| sample.file.clone().unwrap_or_else(|| format!("image {} of the split", sample.index));
    html! {
        ul class="images" {
            @for (at, sample) in samples.iter().enumerate() {
                li {
                    @match &sample.image {
                        Some(png) => (image(png, &format!("Image of class {}, predicted as {}", sample.label, sample.prediction))),
                        None => p class="note" { "neither grey nor colour" },
                    }
                    "class " b { (sample.label) } @if sample.prediction == sample.label { ", correct" } @else { ", predicted " b { (sample.prediction) } }
                    br; "probability " (number(&format!("{key}.{at}.probability"), sample.probability, &percent(sample.probability)))
                    br; "loss " (number(&format!("{key}.{at}.loss"), sample.loss, &loss(sample.loss)))
                    br; span class="soft" { (name(sample)) }
                }
            }
        }
    }
}

/// Input, output and target of denoised pictures.
pub(super) fn pictures(pictures: &[EvaluatedPicture]) -> Markup {
    html! {
        div class="triples" {
            @for (index, picture) in pictures.iter().enumerate() {
                figure {
                    figcaption {
                        "PSNR " (number(&format!("picture.{index}.psnr"), picture.psnr, &metric_value("psnr", picture.psnr)))
                        @if let Some(noisy) = picture.noisy_psnr { ", of the noisy picture " (text(metric_value("psnr", noisy))) }
                        span class="soft" { " – " (picture.file.clone().unwrap_or_else(|| format!("picture {} of the split", picture.index))) }
                    }
                    div {
                        @for (name, png) in [("input", &picture.input), ("output", &picture.output), ("target", &picture.target)] {
                            div {
                                @if let Some(png) = png { (image(png, &format!("{name} of picture {}", index + 1))) }
                                span { (name) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The kernel that the input goes into, as images. `None` if there is none whose weights are images.
pub(super) fn filters(run: &RunFiles) -> Option<Markup> {
    let kept = run.kept.as_ref()?;
    let input = run.manifest.graph.input();
    let parameter = run.manifest.graph.parameters().find(|parameter| parameter.role == Role::Kernel)?;
    let shape = image_shape(parameter, input)?;
    let values = kept.weights.get(&parameter.name)?;
    let all = parameter.shape[0];
    let shown = all.min(FILTERS);
    let image_channels = if shape.channels == 3 { 3 } else { 1 };
    let png = STANDARD.encode(mosaic(values, shape, image_channels, shown).to_png()?);
    // A weight is seen, and the figure is no wider than a page.
    let width = (columns(shown) * (shape.width + 1) * 16).clamp(96, 640);
    let what = if parameter.shape.len() == 4 { "filters" } else { "units" };
    let count = if shown < all { format!("the first {shown} of {all} {what}") } else { format!("all {all} {what}") };
    let colours = match shape.channels {
        3 => "Grey is 0; red, green and blue are the weights of these channels.",
        1 => "Grey is 0, white the largest weight, black its negative.",
        _ => "Grey is 0, white the largest weight, black its negative; of the first channel.",
    };
    Some(html! {
        figure {
            figcaption { (parameter.name) ": " (count) ", " (kept.kind.name()) " checkpoint, epoch " (kept.epoch) }
            img style={ "width:" (width) "px" } alt={ "The weights of " (parameter.name) " as images. " (colours) } src={ "data:image/png;base64," (png) };
            p class="note" { (colours) }
        }
    })
}

/// The shape of the image that the weights to one output are.
fn image_shape(parameter: &Parameter, input: Shape) -> Option<Shape> {
    match parameter.shape.as_slice() {
        // A single weight is no image.
        [_, channels, height, width] if height * width > 1 => Some(Shape { channels: *channels, height: *height, width: *width }),
        [_, inputs] if *inputs == input.size() => Some(input),
        _ => None,
    }
}

/// The number of images beside each other: about twice as many as below each other.
fn columns(shown: usize) -> usize {
    (1..=shown).find(|columns| columns * columns >= 2 * shown).unwrap_or(shown)
}

/// The images of `shown` outputs in a grid, each scaled to its largest absolute weight.
fn mosaic(values: &Values, shape: Shape, channels: usize, shown: usize) -> Picture {
    let columns = columns(shown);
    let rows = shown.div_ceil(columns);
    let (height, width) = (rows * (shape.height + 1) - 1, columns * (shape.width + 1) - 1);
    // Between them is light grey.
    let mut pixels = vec![200; channels * height * width];
    for index in 0..shown {
        let filter = &values.numbers[index * shape.size()..][..channels * shape.height * shape.width];
        let largest = filter.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs())).max(f32::MIN_POSITIVE);
        let (top, left) = (index / columns * (shape.height + 1), index % columns * (shape.width + 1));
        for (at, weight) in filter.iter().enumerate() {
            let (channel, row, column) = (at / (shape.height * shape.width), at / shape.width % shape.height, at % shape.width);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 255")]
            let pixel = (127.5 + 127.5 * weight / largest).round() as u8;
            pixels[(channel * height + top + row) * width + left + column] = pixel;
        }
    }
    Picture { shape: Shape { channels, height, width }, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_scaled_each_and_stand_in_a_grid() {
        let values = Values { shape: vec![3, 1, 1, 2], numbers: vec![-0.5, 0.5, 0.0, 2.0, 1.0, 1.0] };
        let shape = Shape { channels: 1, height: 1, width: 2 };
        let picture = mosaic(&values, shape, 1, 3);
        assert_eq!(picture.shape, Shape { channels: 1, height: 1, width: 8 });
        assert_eq!(picture.pixels, [0, 255, 200, 128, 255, 200, 255, 255]);
        assert_eq!([1, 3, 8, 32, 64].map(columns), [1, 3, 4, 8, 12]);
        let two_rows = mosaic(&Values { shape: vec![5, 1, 1, 1], numbers: vec![1.0; 5] }, Shape { channels: 1, height: 1, width: 1 }, 1, 5);
        assert_eq!(
            two_rows.pixels.chunks(7).collect::<Vec<_>>(),
            [&[255, 200, 255, 200, 255, 200, 255][..], &[200; 7], &[255, 200, 200, 200, 200, 200, 200]]
        );
    }
}
