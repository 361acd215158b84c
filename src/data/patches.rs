//! Square patches of pictures, on which a network for pictures of any size is trained.

use std::sync::Arc;

use super::{DataError, Images, Shape, Subset};

/// Patches of pictures. Their pixels are copied when a patch is needed.
#[derive(Clone, Debug)]
pub(super) struct Patches {
    pictures: Arc<Images>,
    /// The picture of each patch, and its first row and column.
    origins: Vec<[u32; 3]>,
}

impl Patches {
    /// The squares with `side` pixels on a side in `pictures`, one at every `stride` rows and columns, as many as lie in a picture whole: for each picture in order,
    /// from the left to the right, then down. Also returns a warning about pictures that are too small, if there are any.
    ///
    /// # Errors
    ///
    /// When no picture is large enough.
    pub(super) fn of(pictures: &Subset, side: usize, stride: usize) -> Result<(Images, Option<String>), DataError> {
        let mut origins = Vec::new();
        let mut too_small = Vec::new();
        for (index, picture) in pictures.indices().iter().enumerate() {
            let Shape { height, width, .. } = pictures.shape_of(index);
            if height < side || width < side {
                too_small.push(index);
                continue;
            }
            let firsts = |length: usize| (0..=length - side).step_by(stride).map(|first| u32::try_from(first).unwrap_or(u32::MAX));
            origins.extend(firsts(height).flat_map(|top| firsts(width).map(move |left| [*picture, top, left])));
        }
        if origins.is_empty() {
            let largest = (0..pictures.count()).map(|index| pictures.shape_of(index)).map(|shape| shape.height.min(shape.width)).max();
            let problem = format!(
                "`task.patch_size` is {side}, but no training picture has {side} rows and columns; use at most {}",
                largest.unwrap_or_default()
            );
            return Err(DataError::Dataset(problem));
        }
        let warning = (!too_small.is_empty()).then(|| {
            let name =
                |index: &usize| pictures.file(*index).map_or_else(|| format!("picture {index}"), |file| format!("`{}`", file.display()));
            let named: Vec<String> = too_small.iter().take(LISTED).map(name).collect();
            let others = if too_small.len() > LISTED { format!(" and {} more", too_small.len() - LISTED) } else { String::new() };
            format!(
                "not used for training, as they have fewer rows or columns than the {side} of `task.patch_size`: {}{others}",
                named.join(", ")
            )
        });
        let shape = Shape { channels: pictures.shape_of(0).channels, height: side, width: side };
        let images = Images::patches(shape, Self { pictures: Arc::clone(pictures.images()), origins });
        images.check()?;
        Ok((images, warning))
    }

    /// The pictures.
    pub(super) fn pictures(&self) -> &Arc<Images> {
        &self.pictures
    }

    /// The number of patches.
    pub(super) fn count(&self) -> usize {
        self.origins.len()
    }

    /// The pixels of a patch of this shape.
    pub(super) fn cut(&self, shape: Shape, index: usize) -> Vec<u8> {
        let [picture, top, left] = self.origins[index].map(|number| number as usize);
        let (whole, pixels) = (self.pictures.shape_of(picture), self.pictures.pixels_of(picture));
        let rows = (0..shape.channels)
            .flat_map(|channel| (0..shape.height).map(move |row| (channel * whole.height + top + row) * whole.width + left));
        rows.flat_map(|first| &pixels[first..first + shape.width]).copied().collect()
    }
}

/// The pictures that a warning names.
const LISTED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_by_hand() {
        // Two channels of 3×4 pixels, and a picture with too few columns.
        let shapes = [Shape { channels: 2, height: 3, width: 4 }, Shape { channels: 2, height: 3, width: 1 }];
        let pictures = Images::pictures(&shapes, (0..30).collect());
        let subset = Subset::all(Arc::new(pictures));
        let (images, warning) = Patches::of(&subset, 2, 2).unwrap();
        assert_eq!(images.count(), 2);
        assert_eq!(*images.pixels_of(0), [0, 1, 4, 5, 12, 13, 16, 17]);
        assert_eq!(*images.pixels_of(1), [2, 3, 6, 7, 14, 15, 18, 19]);
        let expected = "not used for training, as they have fewer rows or columns than the 2 of `task.patch_size`: picture 1";
        assert_eq!(warning.as_deref(), Some(expected));
        assert_eq!(Patches::of(&subset, 2, 1).unwrap().0.count(), 2 * 3);
        let refused = Patches::of(&subset, 4, 1).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused, "`task.patch_size` is 4, but no training picture has 4 rows and columns; use at most 3");
    }
}
