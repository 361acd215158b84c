//! Files and folders that a dataset leaves out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The largest number of names that are listed for a reason.
const LISTED: usize = 3;

/// Why a file or folder is left out.
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
    /// A file that is not an image.
    NotAnImage,
    /// An image outside of the class folders.
    OutsideClasses,
    /// An image beside the folder `train`, where pictures have no classes.
    OutsideSplits,
    /// A folder beside `train` that is neither validation nor test.
    BesideTrain,
    /// A member of a tar file that is neither an image nor a class.
    UnusedMember,
    /// A class in a tar file without an image.
    WithoutImage,
    /// A tar file that belongs to no split.
    UnusedShard,
    /// A symbolic link whose target is missing.
    DanglingLink,
    /// A symbolic link to a folder that contains it.
    LinkLoop,
    /// A file or folder without permission to read.
    Unreadable,
    /// A pipe, socket or device.
    SpecialFile,
}

impl Reason {
    /// Singular and plural, for messages.
    pub(crate) const fn nouns(self) -> [&'static str; 2] {
        match self {
            Self::Damaged => ["damaged image", "damaged images"],
            Self::Heic => ["HEIC image, which is not supported", "HEIC images, which are not supported"],
            Self::Avif => ["AVIF image, which is not supported", "AVIF images, which are not supported"],
            Self::OtherImageFormat => ["image of a format that is not supported", "images of formats that are not supported"],
            Self::NotAnImage => ["file that is not an image", "files that are not images"],
            Self::OutsideClasses => ["image outside the class folders", "images outside the class folders"],
            Self::OutsideSplits => ["image beside the folder `train`", "images beside the folder `train`"],
            Self::BesideTrain => ["folder beside `train` that is not used", "folders beside `train` that are not used"],
            Self::UnusedMember => {
                ["member of a tar file that is neither image nor class", "members of tar files that are neither images nor classes"]
            }
            Self::WithoutImage => ["class in a tar file without an image", "classes in tar files without images"],
            Self::UnusedShard => ["tar file that belongs to no split", "tar files that belong to no split"],
            Self::DanglingLink => ["link whose target is missing", "links whose targets are missing"],
            Self::LinkLoop => ["link to a folder that contains it", "links to folders that contain them"],
            Self::Unreadable => ["file or folder without permission to read", "files or folders without permission to read"],
            Self::SpecialFile => ["pipe, socket or device", "pipes, sockets or devices"],
        }
    }
}

/// The files and folders that are left out for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutFiles {
    /// Their number.
    pub count: usize,
    /// The first few paths.
    pub first: Vec<PathBuf>,
}

/// The files and folders that are left out, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeftOut(pub BTreeMap<Reason, LeftOutFiles>);

impl LeftOut {
    /// Adds the file or folder at `path`.
    pub fn add(&mut self, reason: Reason, path: &Path) {
        let left = self.0.entry(reason).or_default();
        left.count += 1;
        if left.first.len() < LISTED {
            left.first.push(path.to_owned());
        }
    }

    /// Adds those of another folder.
    pub fn join(&mut self, other: Self) {
        for (reason, other) in other.0 {
            let left = self.0.entry(reason).or_default();
            left.count += other.count;
            left.first.extend(other.first);
            left.first.truncate(LISTED);
        }
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number for each reason.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Reason, usize> {
        self.0.iter().map(|(reason, left)| (*reason, left.count)).collect()
    }
}

/// For example `2 HEIC images, which are not supported (a.heic, b.heic); 1 file that is not an image (notes.txt)`.
impl std::fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        for (index, (reason, LeftOutFiles { count, first })) in self.0.iter().enumerate() {
            let noun = reason.nouns()[usize::from(*count != 1)];
            let separator = if index > 0 { "; " } else { "" };
            write!(formatter, "{separator}{count} {noun}")?;
            // A warning of its own names each damaged image.
            if *reason == Reason::Damaged {
                continue;
            }
            let names: Vec<String> = first.iter().map(|path| path.display().to_string()).collect();
            let more = if *count > names.len() { ", …" } else { "" };
            write!(formatter, " ({}{more})", names.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_out_files_are_counted_by_reason_with_the_first_names() {
        let mut left = LeftOut::default();
        for name in ["a", "b", "c", "d"] {
            left.add(Reason::Heic, Path::new(name));
        }
        left.add(Reason::NotAnImage, Path::new("notes.txt"));
        left.add(Reason::Damaged, Path::new("cut.png"));
        let text = "1 damaged image; 4 HEIC images, which are not supported (a, b, c, …); 1 file that is not an image (notes.txt)";
        assert_eq!(left.to_string(), text);
        assert_eq!(serde_json::to_string(&left.counts()).unwrap(), r#"{"damaged":1,"heic":4,"not_an_image":1}"#);
    }
}
