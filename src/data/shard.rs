//! The samples of a tar file in the layout of `WebDataset`: members that follow each other and have the same name up to the first dot of the file name
//! are one sample, such as `0001.jpg` and `0001.cls`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tar::{Archive, EntryType};

use super::DataError;
use super::left_out::{LeftOut, Reason};
use super::scan::is_image_extension;

/// The bytes of a block of a tar file.
const TAR_BLOCK: usize = 512;
/// The largest member that states a class, in bytes.
const LARGEST_TEXT: u64 = 1 << 20;
/// The extension of a member that is a class.
const CLASS: &str = "cls";
/// The extension of a member that may state a class, and the keys that state it.
const JSON: &str = "json";
const JSON_KEYS: [&str; 3] = ["cls", "label", "class"];

/// The samples of a tar file.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// The samples, in the order of the file.
    pub(super) samples: Vec<ShardSample>,
    /// The members that are left out.
    pub(super) left_out: LeftOut,
}

/// An image with its class in a tar file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShardSample {
    /// The path of the tar file and the name of the image.
    pub(super) path: PathBuf,
    /// The first byte of the image in the tar file.
    pub(super) offset: u64,
    /// The bytes of the image.
    pub(super) length: u64,
    /// The number or name of the class, as it is in the file.
    pub(super) class: String,
}

impl Shard {
    /// Reads the names and classes of the tar file at `path`. Images are not read.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is no whole tar file or has no sample; when a key is there twice, or an image has no class.
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::read(path))?;
        if let Some(format) = compression(&file).map_err(DataError::read(path))? {
            return Err(DataError::content(path, format!("is compressed by {format}; unpack it, as images are compressed already")));
        }
        let mut end = 0;
        let mut builder = Builder { path, shard: Self::default(), keys: HashSet::new(), sample: None };
        let mut archive = Archive::new(&file);
        for entry in archive.entries_with_seek().map_err(DataError::read(path))? {
            let mut entry = entry.map_err(|error| torn(path, end, &error))?;
            end = entry.raw_file_position().saturating_add(entry.size().next_multiple_of(TAR_BLOCK as u64));
            if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
                continue;
            }
            let name = std::str::from_utf8(&entry.path_bytes()).map(str::to_owned);
            let name = name.map_err(|_| DataError::content(path, "has a member whose name is not UTF-8; pack it with other names"))?;
            let mut member = Named { offset: entry.raw_file_position(), length: entry.size(), text: None, name };
            if member.length <= LARGEST_TEXT && member.key().is_some_and(|(_, extension)| [CLASS, JSON].contains(&extension.as_str())) {
                let mut text = Vec::new();
                entry.read_to_end(&mut text).map_err(|error| torn(path, end, &error))?;
                member.text = Some(text);
            }
            builder.add(member)?;
        }
        check_end(&file, end).map_err(|error| torn(path, end, &error))?;
        builder.end_sample()?;
        if builder.shard.samples.is_empty() {
            let reason = if builder.shard.left_out.is_empty() { String::new() } else { format!(", but {}", builder.shard.left_out) };
            return Err(DataError::content(
                path,
                format!("has no samples; expected images with a class each, such as `0001.jpg` and `0001.cls`{reason}"),
            ));
        }
        Ok(builder.shard)
    }
}

/// The name of the program that compressed the file, if one did.
fn compression(mut file: &File) -> io::Result<Option<&'static str>> {
    let mut start = Vec::new();
    file.take(6).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    let marks: [(&[u8], _); 4] = [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz")];
    Ok(marks.into_iter().find(|(mark, _)| start.starts_with(mark)).map(|(_, name)| name))
}

fn torn(path: &Path, end: u64, error: &io::Error) -> DataError {
    DataError::content(path, format!("is no whole tar file: {} after {end} bytes; pack or copy it again", error.to_string().escape_debug()))
}

/// Checks that a block of zeros, which ends a tar file, is at `end`. A file that was cut between two members has none.
fn check_end(mut file: &File, end: u64) -> io::Result<()> {
    let mut block = [1; TAR_BLOCK];
    file.seek(SeekFrom::Start(end))?;
    match file.read_exact(&mut block) {
        Ok(()) if block == [0; TAR_BLOCK] => Ok(()),
        _ => Err(io::Error::other("it is cut off: its end mark is missing")),
    }
}

/// A member of a tar file.
struct Named {
    name: String,
    offset: u64,
    length: u64,
    /// The content, where it may be a class.
    text: Option<Vec<u8>>,
}

impl Named {
    /// The key of the sample and the extension in lower case: what is before and after the first dot of the file name. Returns `None` for a hidden file and one
    /// without an extension.
    fn key(&self) -> Option<(&str, String)> {
        let first = self.name.rfind('/').map_or(0, |slash| slash + 1);
        let dot = first + self.name[first..].find('.')?;
        (dot > first).then(|| (&self.name[..dot], self.name[dot + 1..].to_lowercase()))
    }
}

/// Gathers the members of samples.
struct Builder<'a> {
    path: &'a Path,
    shard: Shard,
    /// The keys so far.
    keys: HashSet<String>,
    sample: Option<Gathered>,
}

/// The members of one sample.
#[derive(Default)]
struct Gathered {
    key: String,
    extensions: Vec<String>,
    image: Option<Named>,
    class: Option<Named>,
    json: Option<Named>,
}

impl Builder<'_> {
    fn add(&mut self, member: Named) -> Result<(), DataError> {
        // Names such as `__key__` are WebDataset's own.
        let is_meta = member.name.split('/').any(|part| part.starts_with("__") && part.ends_with("__"));
        let Some((key, extension)) = member.key().filter(|_| !is_meta) else {
            self.shard.left_out.add(Reason::UnusedMember, &self.path.join(&member.name));
            return Ok(());
        };
        if self.sample.as_ref().is_none_or(|sample| sample.key != key) {
            let key = key.to_owned();
            self.end_sample()?;
            if !self.keys.insert(key.clone()) {
                let problem =
                    format!("has the key `{key}` twice, with other members between; the members of a sample must follow each other");
                return Err(self.refused(problem));
            }
            self.sample = Some(Gathered { key, ..Gathered::default() });
        }
        let Some(sample) = &mut self.sample else { unreachable!("a sample has begun") };
        if sample.extensions.contains(&extension) {
            let problem = format!("has `{}` twice; expected one member of each name", member.name);
            return Err(self.refused(problem));
        }
        let place = match extension.as_str() {
            CLASS => &mut sample.class,
            JSON => &mut sample.json,
            image if is_image_extension(image) => &mut sample.image,
            _ => {
                sample.extensions.push(extension);
                self.shard.left_out.add(Reason::UnusedMember, &self.path.join(&member.name));
                return Ok(());
            }
        };
        if let Some(first) = place {
            let problem = format!("has two images for one sample, `{}` and `{}`; expected one", first.name, member.name);
            return Err(self.refused(problem));
        }
        sample.extensions.push(extension);
        *place = Some(member);
        Ok(())
    }

    fn end_sample(&mut self) -> Result<(), DataError> {
        let Some(Gathered { key, image, class, json, .. }) = self.sample.take() else { return Ok(()) };
        let Some(image) = image else {
            if let Some(without) = class.or(json) {
                self.shard.left_out.add(Reason::WithoutImage, &self.path.join(without.name));
            }
            return Ok(());
        };
        let (stated, found) = match (class, json) {
            (Some(class), _) => {
                let text = text_of(&class).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
                (class.name, text)
            }
            (None, Some(json)) => {
                let text = text_of(&json).and_then(class_in_json);
                (json.name, text)
            }
            (None, None) => {
                let problem = format!("has the image `{}` without a class; expected a member `{key}.cls` or `{key}.json`", image.name);
                return Err(self.refused(problem));
            }
        };
        let Some(class) = found else {
            let keys = JSON_KEYS.join("`, `");
            let problem =
                format!("has no class in `{stated}`; expected the number or name of a class, in a `.json` as one of the keys `{keys}`");
            return Err(self.refused(problem));
        };
        let Named { name, offset, length, .. } = image;
        self.shard.samples.push(ShardSample { path: self.path.join(name), offset, length, class });
        Ok(())
    }

    fn refused(&self, problem: String) -> DataError {
        DataError::content(self.path, problem)
    }
}

/// The text of a member. Returns `None` if it is too long or not UTF-8.
fn text_of(member: &Named) -> Option<&str> {
    member.text.as_deref().and_then(|text| std::str::from_utf8(text).ok())
}

/// The class that a JSON object states. Returns `None` if it states none.
fn class_in_json(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let stated = JSON_KEYS.iter().find_map(|key| value.get(key))?;
    match stated {
        serde_json::Value::String(name) => Some(name.trim().to_owned()).filter(|name| !name.is_empty()),
        serde_json::Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}
