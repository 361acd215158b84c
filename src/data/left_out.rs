//! What was found in a folder of images and not read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Names given for each reason, at most.
const NAMES: usize = 3;

/// Why a file or folder was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An image file that can't be decoded.
    Damaged,
    /// A HEIC image.
    Heic,
    /// An AVIF image.
    Avif,
    /// An image of another format that is not decoded.
    OtherImageFormat,
    /// A file that is no image.
    NotAnImage,
    /// An image that is in no class folder.
    OutsideClasses,
    /// A folder beside `train` that is neither validation nor test.
    BesideTrain,
    /// A symbolic link whose target is missing.
    DanglingLink,
    /// A symbolic link to a folder that contains it.
    LinkLoop,
    /// A file or folder that may not be read.
    Unreadable,
    /// A pipe, socket or device.
    SpecialFile,
}

impl Reason {
    /// One or several such things, in words.
    const fn words(self) -> [&'static str; 2] {
        match self {
            Self::Damaged => ["damaged image", "damaged images"],
            Self::Heic => ["HEIC image, which is not supported", "HEIC images, which are not supported"],
            Self::Avif => ["AVIF image, which is not supported", "AVIF images, which are not supported"],
            Self::OtherImageFormat => ["image of a format that is not supported", "images of formats that are not supported"],
            Self::NotAnImage => ["file that is no image", "files that are no images"],
            Self::OutsideClasses => ["image outside the class folders", "images outside the class folders"],
            Self::BesideTrain => ["folder beside `train` that is not used", "folders beside `train` that are not used"],
            Self::DanglingLink => ["link whose target is missing", "links whose targets are missing"],
            Self::LinkLoop => ["link to a folder that contains it", "links to folders that contain them"],
            Self::Unreadable => ["file or folder without permission to read", "files or folders without permission to read"],
            Self::SpecialFile => ["pipe, socket or device", "pipes, sockets or devices"],
        }
    }
}

/// What was not read for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<PathBuf>,
}

/// What was not read, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeftOut(pub BTreeMap<Reason, Left>);

impl LeftOut {
    /// Adds the file or folder at `path`.
    pub fn add(&mut self, reason: Reason, path: &Path) {
        let left = self.0.entry(reason).or_default();
        left.count += 1;
        if left.first.len() < NAMES {
            left.first.push(path.to_owned());
        }
    }

    /// Adds what another folder left out.
    pub fn join(&mut self, other: Self) {
        for (reason, other) in other.0 {
            let left = self.0.entry(reason).or_default();
            left.count += other.count;
            left.first.extend(other.first);
            left.first.truncate(NAMES);
        }
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many were left out for each reason.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Reason, usize> {
        self.0.iter().map(|(reason, left)| (*reason, left.count)).collect()
    }
}

/// Such as `2 HEIC images, which are not supported (a.heic, b.heic); 1 file that is no image (notes.txt)`.
impl std::fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        for (place, (reason, Left { count, first })) in self.0.iter().enumerate() {
            let names: Vec<String> = first.iter().map(|path| path.display().to_string()).collect();
            let more = if *count > names.len() { ", …" } else { "" };
            let words = reason.words()[usize::from(*count != 1)];
            let separator = if place > 0 { "; " } else { "" };
            write!(formatter, "{separator}{count} {words} ({}{more})", names.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_by_reason_with_the_first_names() {
        let mut left = LeftOut::default();
        for name in ["a", "b", "c", "d"] {
            left.add(Reason::Heic, Path::new(name));
        }
        left.add(Reason::NotAnImage, Path::new("notes.txt"));
        let words = "4 HEIC images, which are not supported (a, b, c, …); 1 file that is no image (notes.txt)";
        assert_eq!(left.to_string(), words);
        assert_eq!(serde_json::to_string(&left.counts()).unwrap(), r#"{"heic":4,"not_an_image":1}"#);
    }
}
