//! Square patches of pictures, on which a network for pictures of any size is trained.

use super::{DataError, Images, Shape, Subset};

/// Patches cut from pictures.
pub(super) struct Patches {
    /// The patches: for each picture in order, from the left to the right, then down.
    pub(super) images: Images,
    /// A warning about pictures that are too small. `None`: there are none.
    pub(super) warning: Option<String>,
}

impl Patches {
    /// Cuts squares with `side` pixels on a side from `pictures`, one at every `stride` rows and columns, as many as lie in a picture whole.
    ///
    /// # Errors
    ///
    /// When no picture is large enough.
    pub(super) fn cut(pictures: &Subset, side: usize, stride: usize) -> Result<Self, DataError> {
        let channels = pictures.shape_of(0).channels;
        let mut pixels = Vec::new();
        let mut too_small = Vec::new();
        for index in 0..pictures.count() {
            let Shape { height, width, .. } = pictures.shape_of(index);
            if height < side || width < side {
                too_small.push(index);
                continue;
            }
            let picture = pictures.pixels(index);
            for top in (0..=height - side).step_by(stride) {
                for left in (0..=width - side).step_by(stride) {
                    for row in (0..channels).flat_map(|channel| (0..side).map(move |row| (channel * height + top + row) * width + left)) {
                        pixels.extend_from_slice(&picture[row..row + side]);
                    }
                }
            }
        }
        if pixels.is_empty() {
            let largest = (0..pictures.count()).map(|index| pictures.shape_of(index)).map(|shape| shape.height.min(shape.width)).max();
            let problem = format!(
                "`task.patch_size` is {side}, but no training picture has {side} rows and columns; use at most {}",
                largest.unwrap_or_default()
            );
            return Err(DataError::Dataset(problem));
        }
        let warning = too_small.first().map(|first| {
            let named = pictures.file(*first).map_or_else(|| format!("picture {first}"), |file| format!("`{}`", file.display()));
            let others = if too_small.len() > 1 { format!(" and {} more", too_small.len() - 1) } else { String::new() };
            format!("{named}{others} is not used for training: fewer rows or columns than the {side} of `task.patch_size`")
        });
        let images = Images::new(Shape { channels, height: side, width: side }, pixels, Vec::new());
        images.check()?;
        Ok(Self { images, warning })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn patches_by_hand() {
        // Two channels of 3×4 pixels, and a picture with too few columns.
        let shapes = [Shape { channels: 2, height: 3, width: 4 }, Shape { channels: 2, height: 3, width: 1 }];
        let pictures = Images::pictures(&shapes, (0..30).collect());
        let subset = Subset::all(Arc::new(pictures));
        let Patches { images, warning } = Patches::cut(&subset, 2, 2).unwrap();
        assert_eq!(images.count(), 2);
        assert_eq!(images.pixels_of(0), [0, 1, 4, 5, 12, 13, 16, 17]);
        assert_eq!(images.pixels_of(1), [2, 3, 6, 7, 14, 15, 18, 19]);
        assert!(warning.unwrap().starts_with("picture 1 is not used for training"));
        assert_eq!(Patches::cut(&subset, 2, 1).unwrap().images.count(), 2 * 3);
        let refused = Patches::cut(&subset, 4, 1).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused, "`task.patch_size` is 4, but no training picture has 4 rows and columns; use at most 3");
    }
}
