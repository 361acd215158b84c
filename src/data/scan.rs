//! Scanning of folders for image files, at any depth. Images are recognized by their content.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::DataError;
use super::left_out::{LeftOut, Reason};

/// Extensions of files that always count as images, so that a damaged one is an error.
const EXTENSIONS: [&str; 16] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "gif", "webp", "tif", "tiff", "pgm", "ppm", "pnm", "pbm", "pam"];

/// Extensions of raw formats of cameras.
const RAW_EXTENSIONS: [&str; 10] = ["arw", "cr2", "dng", "erf", "nef", "nrw", "orf", "pef", "rw2", "srw"];

/// Files and folders that operating systems and archivers create.
const SYSTEM: [&str; 4] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"];

/// A file with a stamp that changes with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// The path.
    pub(super) path: PathBuf,
    /// Size in bytes, and the times of the last change of content and metadata in nanoseconds since 1970.
    pub(super) stamp: [i128; 3],
}

impl FoundFile {
    /// The file at `path`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::new(path.to_owned(), &std::fs::metadata(path)?))
    }

    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |time| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX));
        Self { path, stamp: [metadata.len().into(), modified, changed(metadata)] }
    }
}

#[cfg(unix)]
fn changed(metadata: &Metadata) -> i128 {
    use std::os::unix::fs::MetadataExt;
    i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> i128 {
    0
}

/// One entry of a folder.
pub(super) enum Entry {
    /// A folder.
    Folder(PathBuf),
    /// A regular file.
    File(FoundFile),
    /// Something that is left out.
    LeftOut(Reason, PathBuf),
}

/// The entries of a folder sorted by name, without hidden and system entries. Links are followed.
pub(super) fn entries(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut paths = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| !is_hidden(path));
    paths.sort();
    Ok(paths.into_iter().map(entry).collect())
}

fn entry(path: PathBuf) -> Entry {
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Entry::Folder(path),
        Ok(metadata) if metadata.is_file() => Entry::File(FoundFile::new(path, &metadata)),
        Ok(_) => Entry::LeftOut(Reason::SpecialFile, path),
        // A link to itself has no target either.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Entry::LeftOut(Reason::Unreadable, path),
        Err(_) => Entry::LeftOut(Reason::DanglingLink, path),
    }
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.starts_with('.') || SYSTEM.contains(&name.as_str())
}

/// All files under `dir`, at any depth, sorted by path.
///
/// # Errors
///
/// When `dir` can't be read. An unreadable folder in it is left out.
pub(super) fn files(dir: &Path) -> Result<(Vec<FoundFile>, LeftOut), DataError> {
    let mut walk = Walk { files: Vec::new(), left_out: LeftOut::default(), parents: Vec::new() };
    walk.folder(dir).map_err(DataError::read(dir))?;
    walk.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((walk.files, walk.left_out))
}

struct Walk {
    files: Vec<FoundFile>,
    left_out: LeftOut,
    /// The canonical paths of the folders that contain the current one.
    parents: Vec<PathBuf>,
}

impl Walk {
    fn folder(&mut self, dir: &Path) -> io::Result<()> {
        let entries = entries(dir)?;
        self.parents.push(dir.canonicalize()?);
        for entry in entries {
            match entry {
                Entry::File(file) => self.files.push(file),
                Entry::LeftOut(reason, path) => self.left_out.add(reason, &path),
                Entry::Folder(path) => match path.canonicalize() {
                    Ok(real) if self.parents.contains(&real) => self.left_out.add(Reason::LinkLoop, &path),
                    _ if self.folder(&path).is_err() => self.left_out.add(Reason::Unreadable, &path),
                    _ => {}
                },
            }
        }
        self.parents.pop();
        Ok(())
    }
}

/// Checks that a file is an image of a supported format; the error is the reason why it is left out. An empty or unknown file with the extension of
/// an image counts as an image, so that it is reported as damaged.
pub(super) fn check_image(path: &Path) -> Result<(), Reason> {
    let mut start = [0; 64];
    let length = File::open(path).and_then(|file| {
        let mut length = 0;
        let mut file = file.take(start.len() as u64);
        loop {
            match file.read(&mut start[length..])? {
                0 => return Ok(length),
                more => length += more,
            }
        }
    });
    match length {
        Ok(length) => match kind(&start[..length]) {
            Some(Ok(())) if is_raw(path) => Err(Reason::OtherImageFormat),
            Some(known) => known,
            None if has_image_extension(path) => Ok(()),
            None => Err(Reason::NotAnImage),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Reason::DanglingLink),
        Err(_) => Err(Reason::Unreadable),
    }
}

/// The kind of a file by its first bytes. Returns `None` if they are unknown.
fn kind(start: &[u8]) -> Option<Result<(), Reason>> {
    let at = |offset: usize, bytes: &[u8]| start.get(offset..offset + bytes.len()) == Some(bytes);
    if at(4, b"ftyp") {
        // The brands of ISO base media files (ISO/IEC 23008-12, annex B; AV1 Image File Format, section 6).
        let brands: Vec<&[u8]> = start[8..].chunks_exact(4).collect();
        let has = |brand: &[u8; 4]| brands.contains(&brand.as_slice());
        return match () {
            () if has(b"avif") || has(b"avis") => Some(Err(Reason::Avif)),
            () if [b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"].into_iter().any(has) => Some(Err(Reason::Heic)),
            () => None,
        };
    }
    let others: [&[u8]; 6] = [b"\0\0\0\x0cJXL ", b"\xff\x0a", b"\0\0\0\x0cjP  ", b"8BPS", b"DDS ", b"\x76\x2f\x31\x01"];
    if others.iter().any(|other| at(0, other)) {
        return Some(Err(Reason::OtherImageFormat));
    }
    let is_bitmap =
        at(0, b"BM") && start.get(14..18).is_some_and(|size| matches!(size, [12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]));
    let is_anymap = matches!(start, [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n', ..]);
    let is_webp = at(0, b"RIFF") && at(8, b"WEBP");
    let signatures: [&[u8]; 6] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"];
    (is_bitmap || is_anymap || is_webp || signatures.iter().any(|signature| at(0, signature))).then_some(Ok(()))
}

/// Whether a file has the extension of a raw format. Such files begin like TIFF files and contain a small preview.
fn is_raw(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    RAW_EXTENSIONS.contains(&extension.as_str())
}

/// Whether a file has the extension of an image.
fn has_image_extension(path: &Path) -> bool {
    is_image_extension(&path.extension().unwrap_or_default().to_string_lossy().to_lowercase())
}

/// Whether an extension in lower case is one of images.
pub(super) fn is_image_extension(extension: &str) -> bool {
    EXTENSIONS.contains(&extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> (Vec<String>, LeftOut) {
        let (files, left_out) = files(dir).unwrap();
        (files.iter().map(|file| file.path.strip_prefix(dir).unwrap().display().to_string()).collect(), left_out)
    }

    #[test]
    fn files_are_found_at_any_depth_and_system_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["b.png", "a/deep/er/c", "a/x.jpg", ".DS_Store", "a/._x.jpg", "Thumbs.db", "__MACOSX/b.png", ".git/config", "desktop.ini"]
        {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        assert_eq!(names(dir.path()), (vec!["a/deep/er/c".into(), "a/x.jpg".into(), "b.png".into()], LeftOut::default()));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_loops() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::write(dir.path().join("outside.png"), "").unwrap();
        symlink("../outside.png", root.join("x.png")).unwrap();
        symlink("..", root.join("a/up")).unwrap();
        symlink("/nowhere/b.png", root.join("b.png")).unwrap();
        symlink("itself", root.join("itself")).unwrap();
        let (found, left_out) = names(&root);
        assert_eq!(found, ["x.png"]);
        let counts: Vec<(Reason, usize)> = left_out.counts().into_iter().collect();
        assert_eq!(counts, [(Reason::DanglingLink, 2), (Reason::LinkLoop, 1)]);
    }

    #[test]
    fn images_are_recognized_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            check_image(&path)
        };
        assert_eq!(of("photo", b"\xff\xd8\xff\xe0\0\x10JFIF"), Ok(()));
        assert_eq!(of("wrong.txt", b"\x89PNG\r\n\x1a\n...."), Ok(()));
        assert_eq!(of("empty.jpe", b""), Ok(()), "reported as damaged");
        assert_eq!(of("P1.csv", b"P1,P2\n"), Err(Reason::NotAnImage));
        assert_eq!(of("bmw.txt", b"BMW, Mercedes, Opel"), Err(Reason::NotAnImage));
        assert_eq!(of("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), Err(Reason::Heic));
        assert_eq!(of("a.avif", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf"), Err(Reason::Avif));
        assert_eq!(of("camera.NEF", b"MM\0*\0\0\0\x08"), Err(Reason::OtherImageFormat));
        assert_eq!(of("a.jxl", b"\xff\x0a\xfa\x7f"), Err(Reason::OtherImageFormat));
        assert_eq!(of("film.mp4", b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2"), Err(Reason::NotAnImage));
    }
}
