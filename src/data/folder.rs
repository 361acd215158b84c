//! Listings of folders of images, with one subfolder per class: `train/CLASS/…`, optionally with `val/CLASS/…` and `test/CLASS/…`, or `CLASS/…` alone.
//! Also of folders of pictures without classes.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::DataError;
use super::left_out::{LeftOut, Reason};
use super::scan::{Entry, FoundFile, entries, files};

/// Names of the folder of the validation split.
pub(super) const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// The files of a dataset, before their content is read.
#[derive(Debug)]
pub(super) struct Listing {
    /// The class names in the order of their labels.
    pub(super) classes: Vec<String>,
    /// The training, validation and test files.
    pub(super) splits: [Option<SplitFiles>; 3],
    /// Files and folders that are left out, such as links without a target.
    pub(super) left_out: LeftOut,
    /// Warnings for the user.
    pub(super) warnings: Vec<String>,
}

/// The files of one split.
#[derive(Debug)]
pub(super) struct SplitFiles {
    /// The folder that has the class folders.
    pub(super) dir: PathBuf,
    /// The files of each class.
    pub(super) by_class: Vec<Vec<FoundFile>>,
    /// The files outside of the class folders.
    pub(super) outside: Vec<FoundFile>,
}

impl Listing {
    /// All files.
    pub(super) fn files(&self) -> impl Iterator<Item = &FoundFile> {
        self.splits.iter().flatten().flat_map(|split| split.by_class.iter().flatten().chain(&split.outside))
    }

    /// Adds classes, names, sizes and times to a hash.
    pub(super) fn hash_into(&self, hash: &mut Sha256) {
        self.classes.iter().for_each(|class| hash_text(class.as_bytes(), hash));
        hash_text(self.left_out.to_string().as_bytes(), hash);
        for split in &self.splits {
            let Some(split) = split else {
                hash_text(b"none", hash);
                continue;
            };
            for files in split.by_class.iter().chain([&split.outside]) {
                hash_text(&(files.len() as u64).to_le_bytes(), hash);
                files.iter().for_each(|file| hash_file(file, hash));
            }
        }
    }
}

/// Adds the path, the size and the times of a file to a hash.
pub(super) fn hash_file(file: &FoundFile, hash: &mut Sha256) {
    hash_text(file.path.as_os_str().as_encoded_bytes(), hash);
    file.stamp.iter().for_each(|number| hash_text(&number.to_le_bytes(), hash));
}

fn hash_text(text: &[u8], hash: &mut Sha256) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

/// Lists the files of the dataset in `dir`.
///
/// # Errors
///
/// When there are fewer than 2 classes, a folder can't be read, or a split has a class that the training split does not have.
pub(super) fn list(dir: &Path) -> Result<Listing, DataError> {
    if dir.is_file() {
        return Err(DataError::content(dir, "is a file; expected a folder with one subfolder of images for each class"));
    }
    if !dir.is_dir() {
        let hint = "`data.dir` must be a folder with one subfolder of images for each class; where the data of a run have moved, give `--data-dir` to `resume` or `evaluate`";
        let hint = hint.to_owned();
        return Err(DataError::Missing { path: dir.to_owned(), hint });
    }
    let mut left_out = LeftOut::default();
    let mut warnings = Vec::new();
    let Top { names, beside, unread } = Top::of(dir)?;
    let [train, validation, test] = split_folders(dir, &names)?;
    let Some(train_dir) = train else {
        for path in names.iter().filter(|path| is_named(path, &["test"]) || is_named(path, &VALIDATION)) {
            warnings.push(format!("`{}` is read as a class, as there is no folder `train` beside it", path.display()));
        }
        let classes = class_names(dir)?;
        let train = split(dir, &classes, &mut left_out)?;
        return Ok(Listing { classes, splits: [Some(train), None, None], left_out, warnings });
    };
    unread.iter().for_each(|(reason, path)| left_out.add(*reason, path));
    let used = [Some(&train_dir), validation.as_ref(), test.as_ref()];
    names.iter().filter(|path| !used.contains(&Some(path))).for_each(|path| left_out.add(Reason::BesideTrain, path));
    let classes = class_names(&train_dir)?;
    let mut train = split(&train_dir, &classes, &mut left_out)?;
    train.outside.extend(beside);
    let mut held_out = [None, None];
    for (split_files, dir) in held_out.iter_mut().zip([validation, test]) {
        let Some(dir) = dir else { continue };
        let files = split(&dir, &classes, &mut left_out)?;
        let empty: Vec<String> =
            classes.iter().zip(&files.by_class).filter(|(_, files)| files.is_empty()).map(|(class, _)| format!("`{class}`")).collect();
        if !empty.is_empty() {
            warnings.push(format!("`{}` has no images of class {}", dir.display(), empty.join(", ")));
        }
        *split_files = Some(files);
    }
    let [validation, test] = held_out;
    Ok(Listing { classes, splits: [Some(train), validation, test], left_out, warnings })
}

/// The entries of the folder of a dataset.
struct Top {
    /// The folders.
    names: Vec<PathBuf>,
    /// The files.
    beside: Vec<FoundFile>,
    /// Other entries.
    unread: Vec<(Reason, PathBuf)>,
}

impl Top {
    fn of(dir: &Path) -> Result<Self, DataError> {
        let mut top = Self { names: Vec::new(), beside: Vec::new(), unread: Vec::new() };
        for entry in entries(dir).map_err(DataError::read(dir))? {
            match entry {
                Entry::Folder(path) => top.names.push(path),
                Entry::File(file) => top.beside.push(file),
                Entry::LeftOut(reason, path) => {
                    if is_named(&path, &VALIDATION) || is_named(&path, &["train", "test"]) {
                        refuse_in_place_of_folder(reason, &path)?;
                    }
                    top.unread.push((reason, path));
                }
            }
        }
        Ok(top)
    }
}

/// Lists the pictures without classes in `dir`, at any depth: in the folders `train`, `val` and `test`, or in all of `dir` without a folder `train`.
///
/// # Errors
///
/// When a folder can't be read.
pub(super) fn list_pictures(dir: &Path) -> Result<Listing, DataError> {
    check_is_folder(dir)?;
    let Top { names, beside, unread } = Top::of(dir)?;
    let [train_dir, validation, test] = split_folders(dir, &names)?;
    let Some(train_dir) = train_dir else {
        let held_out = names.iter().filter(|path| is_named(path, &["test"]) || is_named(path, &VALIDATION));
        let warning =
            |path: &PathBuf| format!("the pictures in `{}` are used for training, as there is no folder `train` beside it", path.display());
        return Ok(Listing { warnings: held_out.map(warning).collect(), ..list_all_pictures(dir)? });
    };
    let mut listing = list_all_pictures(&train_dir)?;
    let mut held_out = [None, None];
    for (split, dir) in held_out.iter_mut().zip([&validation, &test]) {
        let Some(dir) = dir else { continue };
        let Listing { splits: [files, ..], left_out, .. } = list_all_pictures(dir)?;
        listing.left_out.join(left_out);
        *split = files;
    }
    unread.iter().for_each(|(reason, path)| listing.left_out.add(*reason, path));
    let used = [Some(&train_dir), validation.as_ref(), test.as_ref()];
    names.iter().filter(|path| !used.contains(&Some(path))).for_each(|path| listing.left_out.add(Reason::BesideTrain, path));
    let train = listing.splits[0].take().map(|train| SplitFiles { outside: beside, ..train });
    let [validation, test] = held_out;
    Ok(Listing { splits: [train, validation, test], ..listing })
}

/// Lists all pictures in `dir`, at any depth, as the training split.
///
/// # Errors
///
/// When the folder can't be read.
pub(super) fn list_all_pictures(dir: &Path) -> Result<Listing, DataError> {
    check_is_folder(dir)?;
    let (found, left_out) = files(dir)?;
    let train = SplitFiles { dir: dir.to_owned(), by_class: vec![found], outside: Vec::new() };
    Ok(Listing { classes: Vec::new(), splits: [Some(train), None, None], left_out, warnings: Vec::new() })
}

fn check_is_folder(dir: &Path) -> Result<(), DataError> {
    if dir.is_dir() {
        return Ok(());
    }
    if dir.exists() {
        return Err(DataError::content(dir, "is a file; expected a folder of pictures"));
    }
    let hint = "expected a folder of pictures; where the data of a run have moved, give `--data-dir` to `resume` or `evaluate`".to_owned();
    Err(DataError::Missing { path: dir.to_owned(), hint })
}

/// Lists the files in `dir`, whose subfolders are named after some of `classes`.
///
/// # Errors
///
/// When a folder can't be read, or its name is not a class.
pub(super) fn list_labelled(dir: &Path, classes: &[String]) -> Result<Listing, DataError> {
    if !dir.is_dir() {
        return Err(DataError::Missing {
            path: dir.to_owned(),
            hint: "expected a folder with one subfolder of images for each class".to_owned(),
        });
    }
    let mut left_out = LeftOut::default();
    let files = split(dir, classes, &mut left_out)?;
    Ok(Listing { classes: classes.to_vec(), splits: [None, None, Some(files)], left_out, warnings: Vec::new() })
}

/// The folders of the training, validation and test splits among `names`. All are `None` if there is no folder `train`.
fn split_folders(dir: &Path, names: &[PathBuf]) -> Result<[Option<PathBuf>; 3], DataError> {
    let one = |wanted: &[&str]| {
        let found: Vec<&PathBuf> = names.iter().filter(|path| is_named(path, wanted)).collect();
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some((*one).clone())),
            [first, second, ..] => Err(DataError::content(
                dir,
                format!(
                    "has both `{}` and `{}`; expected one folder of that kind",
                    first.file_name().unwrap_or_default().to_string_lossy(),
                    second.file_name().unwrap_or_default().to_string_lossy()
                ),
            )),
        }
    };
    let Some(train) = one(&["train"])? else { return Ok([None, None, None]) };
    Ok([Some(train), one(&VALIDATION)?, one(&["test"])?])
}

fn is_named(path: &Path, names: &[&str]) -> bool {
    path.file_name().is_some_and(|name| names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)))
}

/// Returns an error for a broken link or an unreadable folder where a folder of images is expected.
fn refuse_in_place_of_folder(reason: Reason, path: &Path) -> Result<(), DataError> {
    match reason {
        Reason::DanglingLink => {
            Err(DataError::content(path, "is a link whose target is missing; mount or fetch what it points to, or remove the link"))
        }
        Reason::Unreadable => Err(DataError::content(path, "may not be read; change its permissions or remove it")),
        _ => Ok(()),
    }
}

/// The names of the class folders in `dir`.
fn class_names(dir: &Path) -> Result<Vec<String>, DataError> {
    let mut classes = Vec::new();
    for entry in entries(dir).map_err(DataError::read(dir))? {
        let path = match entry {
            Entry::Folder(path) => path,
            Entry::LeftOut(reason, path) => {
                refuse_in_place_of_folder(reason, &path)?;
                continue;
            }
            Entry::File(_) => continue,
        };
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => classes.push(name.to_owned()),
            None => return Err(DataError::content(&path, "has a name that is not UTF-8; rename it")),
        }
    }
    if classes.len() < 2 {
        let is_train = is_named(dir, &["train"]);
        let hint =
            if is_train { "; a folder named `train` holds the training split, and the folders beside it are not classes" } else { "" };
        let (count, noun) = (classes.len(), if classes.len() == 1 { "subfolder" } else { "subfolders" });
        let without = if classes.is_empty() { "; for pictures without classes, see `task.kind` = \"denoise\"" } else { "" };
        let problem = format!("has {count} {noun}; expected at least 2, one for each class{hint}{without}");
        return Err(DataError::content(dir, problem));
    }
    if u32::try_from(classes.len()).is_err() {
        return Err(DataError::content(dir, "has too many subfolders"));
    }
    Ok(classes)
}

/// The files in `dir`, whose subfolders are named after some of `classes`.
fn split(dir: &Path, classes: &[String], left_out: &mut LeftOut) -> Result<SplitFiles, DataError> {
    let mut by_class = vec![Vec::new(); classes.len()];
    let mut outside = Vec::new();
    for entry in entries(dir).map_err(DataError::read(dir))? {
        let folder = match entry {
            Entry::Folder(path) => path,
            Entry::File(file) => {
                outside.push(file);
                continue;
            }
            Entry::LeftOut(reason, path) => {
                refuse_in_place_of_folder(reason, &path)?;
                left_out.add(reason, &path);
                continue;
            }
        };
        let name = folder.file_name().unwrap_or_default();
        let Some(label) = classes.iter().position(|class| name == class.as_str() || name == class.replace('/', "_").as_str()) else {
            let known: Vec<String> = classes.iter().take(10).map(|class| format!("`{class}`")).collect();
            let more = if classes.len() > known.len() { ", …" } else { "" };
            return Err(DataError::content(&folder, format!("is a class that training does not have; it has {}{more}", known.join(", "))));
        };
        let (found, folder_left_out) = files(&folder)?;
        left_out.join(folder_left_out);
        by_class[label] = found;
    }
    Ok(SplitFiles { dir: dir.to_owned(), by_class, outside })
}
