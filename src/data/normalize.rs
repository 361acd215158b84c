//! Normalization of pixels.

use rayon::prelude::*;
use regulus_model::preprocess::Normalizer;

use super::{DataError, Subset};
use crate::config::Normalization;

/// The normalization that does not depend on the images. Returns `None` if it does, or is not for images of so many channels.
fn fixed(kind: Normalization, channels: usize) -> Option<Normalizer> {
    let (mean, deviation) = match kind {
        Normalization::Unit => (vec![0.0; channels], vec![1.0; channels]),
        Normalization::Lite => (vec![127.0 / 255.0; channels], vec![128.0 / 255.0; channels]),
        Normalization::Torchvision => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
        Normalization::Standard => return None,
    };
    (mean.len() == channels).then_some(Normalizer { mean, deviation })
}

/// Which normalization it is that does not depend on the images, if any.
pub(crate) fn named(normalizer: &Normalizer) -> Option<Normalization> {
    let kinds = [Normalization::Unit, Normalization::Lite, Normalization::Torchvision];
    kinds.into_iter().find(|kind| fixed(*kind, normalizer.mean.len()).as_ref() == Some(normalizer))
}

/// The normalizer of a config, with mean and deviation of the training split. If `known` are these, and images would have to be decoded for them, they are not
/// computed again.
///
/// # Errors
///
/// When a channel has a deviation of 0 over the training split.
pub(super) fn normalizer(kind: Normalization, train: &Subset, known: Option<&Normalizer>) -> Result<Normalizer, DataError> {
    let channels = train.shape().channels;
    match kind {
        _ if let Some(fixed) = fixed(kind, channels) => Ok(fixed),
        Normalization::Unit | Normalization::Lite | Normalization::Torchvision => {
            let message = format!(
                "`data.normalization` is \"torchvision\", which is for images of 3 channels, but these have {channels}; use another"
            );
            Err(DataError::Dataset(message))
        }
        Normalization::Standard if let Some(known) = known.filter(|known| train.is_streamed() && known.mean.len() == channels) => {
            Ok(known.clone())
        }
        Normalization::Standard => {
            let standard = standardizer(train);
            train.check_decoded()?;
            if standard.deviation.iter().all(|deviation| *deviation > 0.0) {
                Ok(standard)
            } else {
                let message = "every training image has the same pixels in some channel; set `data.normalization` to `unit`";
                Err(DataError::Dataset(message.to_owned()))
            }
        }
    }
}

/// Mean and deviation of pixel / 255 over a subset, channel by channel.
#[must_use]
pub fn standardizer(subset: &Subset) -> Normalizer {
    let channels = if subset.count() > 0 { subset.shape_of(0).channels } else { 0 };
    let nothing = || (vec![[0_u64; 256]; channels], 0);
    // Sums of whole numbers do not depend on their order.
    let add = |(mut counts, total): (Vec<[u64; 256]>, usize), index: usize| {
        let area = subset.shape_of(index).height * subset.shape_of(index).width;
        for (counts, plane) in counts.iter_mut().zip(subset.pixels(index).chunks_exact(area)) {
            plane.iter().for_each(|pixel| counts[usize::from(*pixel)] += 1);
        }
        (counts, total + area)
    };
    let join = |(mut counts, total): (Vec<[u64; 256]>, usize), (others, more): (Vec<[u64; 256]>, usize)| {
        counts.iter_mut().flatten().zip(others.iter().flatten()).for_each(|(count, other)| *count += other);
        (counts, total + more)
    };
    let (counts, total) = (0..subset.count()).into_par_iter().with_min_len(64).fold(nothing, add).reduce(nothing, join);
    let total = total as f64;
    let average = |counts: &[u64; 256], of: &dyn Fn(f64) -> f64| {
        (0_u32..).zip(counts).map(|(pixel, count)| of(f64::from(pixel) / 255.0) * *count as f64).sum::<f64>() / total
    };
    let mean: Vec<f64> = counts.iter().map(|counts| average(counts, &|value| value)).collect();
    // A constant channel has exactly 0, not a rounding error.
    let deviation_or_zero =
        |counts: &[u64; 256], deviation: f64| if counts.iter().filter(|count| **count > 0).count() > 1 { deviation } else { 0.0 };
    let deviation = counts
        .iter()
        .zip(&mean)
        .map(|(counts, mean)| deviation_or_zero(counts, average(counts, &|value| (value - mean).powi(2)).sqrt()))
        .collect();
    Normalizer { mean, deviation }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use regulus_model::preprocess::{Filter, Resize};

    use super::*;
    use crate::data::streamed::Streamed;
    use crate::data::{Decoding, Images, Preprocess, Shape};

    #[test]
    fn mean_and_deviation_are_of_each_channel() {
        // Two images of 1×2 pixels: channel 0 is 0, 255, 0, 255; channel 1 is constantly 51.
        let shape = Shape { channels: 2, height: 1, width: 2 };
        let images = Images::new(shape, vec![0, 255, 51, 51, 0, 255, 51, 51], vec![0, 1]);
        let subset = Subset::all(Arc::new(images));
        let standard = standardizer(&subset);
        assert!((standard.mean[0] - 0.5).abs() < 1e-12 && (standard.mean[1] - 0.2).abs() < 1e-12);
        assert!((standard.deviation[0] - 0.5).abs() < 1e-12);
        assert!(standard.deviation[1] == 0.0, "not a rounding error");
        let refused = normalizer(Normalization::Standard, &subset, None).unwrap_err().to_string();
        assert!(refused.contains("the same pixels in some channel"), "{refused}");
        let lite = normalizer(Normalization::Lite, &subset, None).unwrap().table();
        let expected: Vec<f32> = (0_u8..=255).map(|pixel| (f32::from(pixel) - 127.0) / 128.0).collect();
        assert!(lite.iter().all(|table| table.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-7)));
        assert!(normalizer(Normalization::Torchvision, &subset, None).unwrap_err().to_string().contains("these have 2"));
        let unit = normalizer(Normalization::Unit, &subset, None).unwrap().table();
        assert!((unit[1][51] - 0.2).abs() < 1e-9 && (unit[0][255] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn known_means_are_taken_where_images_would_be_decoded_for_them() {
        let shape = Shape { channels: 1, height: 1, width: 2 };
        let known = Normalizer { mean: vec![0.25], deviation: vec![0.75] };
        let standard = |images: Images, known| normalizer(Normalization::Standard, &Subset::all(Arc::new(images)), known);
        let in_memory = Images::new(shape, vec![0, 255], vec![0]);
        assert_eq!(standard(in_memory, Some(&known)).unwrap(), Normalizer { mean: vec![0.5], deviation: vec![0.5] });
        // The file does not exist.
        let preprocess = Preprocess { shape, resize: Resize::Stretch, filter: Filter::Bilinear, decoding: Decoding::Reduced };
        let streamed = || {
            let streamed = Streamed::new(preprocess, Arc::default(), Vec::new(), Vec::new());
            Images::streamed(shape, streamed, vec![0]).of_files(vec![PathBuf::from("no such folder/0.png")])
        };
        assert_eq!(standard(streamed(), Some(&known)).unwrap(), known);
        let refused = standard(streamed(), None).unwrap_err().to_string();
        assert!(refused.contains("cannot decode image `no such folder/0.png`"), "{refused}");
    }
}
