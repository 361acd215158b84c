//! The datasets that can be downloaded, with mirrors and checksums.

use std::path::{Path, PathBuf};

use super::cifar::{self, Cifar};
use super::{DataError, Images, cache_dir, idx};
use crate::config::Source;

/// A dataset that can be downloaded.
#[derive(Debug)]
pub struct KnownDataset {
    /// The source in a config; also the name of its folder in the cache.
    pub source: Source,
    /// Mirrors: URLs that end in `/`, to which a file name and `.gz` are appended.
    pub mirrors: &'static [&'static str],
    /// The files. IDX: training images, training labels, test images, test labels.
    pub files: &'static [KnownFile],
    /// The class names.
    pub classes: &'static [&'static str],
    /// Numbers and size of the images, as text.
    pub about: &'static str,
    /// Authors and licence.
    pub credit: &'static str,
}

/// One file of a known dataset.
#[derive(Debug)]
pub struct KnownFile {
    /// The name without `.gz`.
    pub name: &'static str,
    /// The checksum.
    pub sha256: Sha256Of,
}

/// A checksum of the unpacked or the packed file.
#[derive(Debug)]
pub enum Sha256Of {
    /// Of the unpacked content.
    Unpacked(&'static str),
    /// Of the published gzip file.
    Packed(&'static str),
}

/// The MNIST database of handwritten digits.
pub const MNIST: KnownDataset = KnownDataset {
    source: Source::Mnist,
    mirrors: &["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"],
    files: &[
        KnownFile {
            name: "train-images-idx3-ubyte",
            sha256: Sha256Of::Unpacked("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        },
        KnownFile {
            name: "train-labels-idx1-ubyte",
            sha256: Sha256Of::Unpacked("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        },
        KnownFile {
            name: "t10k-images-idx3-ubyte",
            sha256: Sha256Of::Unpacked("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        },
        KnownFile {
            name: "t10k-labels-idx1-ubyte",
            sha256: Sha256Of::Unpacked("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        },
    ],
    classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    about: "60,000 + 10,000 images, 28×28, grey",
    credit: "Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0",
};

/// Fashion-MNIST: articles of clothing.
pub const FASHION_MNIST: KnownDataset = KnownDataset {
    source: Source::FashionMnist,
    mirrors: &[
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
    ],
    files: &[
        KnownFile {
            name: "train-images-idx3-ubyte",
            sha256: Sha256Of::Packed("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        },
        KnownFile {
            name: "train-labels-idx1-ubyte",
            sha256: Sha256Of::Packed("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        },
        KnownFile {
            name: "t10k-images-idx3-ubyte",
            sha256: Sha256Of::Packed("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        },
        KnownFile {
            name: "t10k-labels-idx1-ubyte",
            sha256: Sha256Of::Packed("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        },
    ],
    classes: &["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
    about: "60,000 + 10,000 images, 28×28, grey",
    credit: "Zalando Research (arXiv 1708.07747); MIT",
};

/// CIFAR-10, the binary version.
pub const CIFAR10: KnownDataset = KnownDataset {
    source: Source::Cifar10,
    mirrors: &["https://www.cs.toronto.edu/~kriz/"],
    files: &[KnownFile {
        name: "cifar-10-binary.tar",
        sha256: Sha256Of::Packed("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    }],
    classes: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    about: "50,000 + 10,000 images, 32×32, colour",
    credit: "A. Krizhevsky (2009)",
};

/// CIFAR-100, the binary version, with its fine labels.
pub const CIFAR100: KnownDataset = KnownDataset {
    source: Source::Cifar100,
    mirrors: &["https://www.cs.toronto.edu/~kriz/"],
    files: &[KnownFile {
        name: "cifar-100-binary.tar",
        sha256: Sha256Of::Packed("58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
    }],
    // The file `fine_label_names.txt` of the archive.
    classes: &[
        "apple",
        "aquarium_fish",
        "baby",
        "bear",
        "beaver",
        "bed",
        "bee",
        "beetle",
        "bicycle",
        "bottle",
        "bowl",
        "boy",
        "bridge",
        "bus",
        "butterfly",
        "camel",
        "can",
        "castle",
        "caterpillar",
        "cattle",
        "chair",
        "chimpanzee",
        "clock",
        "cloud",
        "cockroach",
        "couch",
        "crab",
        "crocodile",
        "cup",
        "dinosaur",
        "dolphin",
        "elephant",
        "flatfish",
        "forest",
        "fox",
        "girl",
        "hamster",
        "house",
        "kangaroo",
        "keyboard",
        "lamp",
        "lawn_mower",
        "leopard",
        "lion",
        "lizard",
        "lobster",
        "man",
        "maple_tree",
        "motorcycle",
        "mountain",
        "mouse",
        "mushroom",
        "oak_tree",
        "orange",
        "orchid",
        "otter",
        "palm_tree",
        "pear",
        "pickup_truck",
        "pine_tree",
        "plain",
        "plate",
        "poppy",
        "porcupine",
        "possum",
        "rabbit",
        "raccoon",
        "ray",
        "road",
        "rocket",
        "rose",
        "sea",
        "seal",
        "shark",
        "shrew",
        "skunk",
        "skyscraper",
        "snail",
        "snake",
        "spider",
        "squirrel",
        "streetcar",
        "sunflower",
        "sweet_pepper",
        "table",
        "tank",
        "telephone",
        "television",
        "tiger",
        "tractor",
        "train",
        "trout",
        "tulip",
        "turtle",
        "wardrobe",
        "whale",
        "willow_tree",
        "wolf",
        "woman",
        "worm",
    ],
    about: "50,000 + 10,000 images of 100 classes, 32×32, colour",
    credit: "A. Krizhevsky (2009)",
};

/// All datasets that can be downloaded.
pub const KNOWN_DATASETS: [&KnownDataset; 4] = [&MNIST, &FASHION_MNIST, &CIFAR10, &CIFAR100];

/// Subfolders that may have the files: torchvision makes them.
const SUBFOLDERS: [&str; 4] = ["", "raw", "MNIST/raw", "FashionMNIST/raw"];

impl KnownDataset {
    /// The folder of the files: `dir`, or a folder in the cache.
    ///
    /// # Errors
    ///
    /// When `dir` is `None` and there is no cache folder.
    pub fn folder(&self, dir: Option<&Path>) -> Result<PathBuf, DataError> {
        match dir {
            Some(dir) => Ok(dir.to_owned()),
            None => Ok(cache_dir()?.join(self.source.name())),
        }
    }

    /// The path of a file, packed or unpacked, under its name or a name that unpackers give. Returns `None` if it is missing.
    #[must_use]
    pub fn find(folder: &Path, file: &KnownFile) -> Option<PathBuf> {
        // An archive is read as it is published.
        if Path::new(file.name).extension().is_some() {
            return Some(folder.join(format!("{}.gz", file.name))).filter(|path| path.is_file());
        }
        SUBFOLDERS.iter().find_map(|inside| idx::find(&folder.join(inside), Path::new(file.name)))
    }

    /// Whether `folder` has all files, judged by their names.
    #[must_use]
    pub fn is_present(&self, folder: &Path) -> bool {
        self.files.iter().all(|file| Self::find(folder, file).is_some())
            || self.cifar().is_some_and(|cifar| cifar.unpacked(folder).is_some())
    }

    /// The files of a CIFAR dataset. Returns `None` for another.
    fn cifar(&self) -> Option<Cifar> {
        match self.source {
            Source::Cifar10 => Some(cifar::CIFAR10),
            Source::Cifar100 => Some(cifar::CIFAR100),
            _ => None,
        }
    }

    pub(super) fn load(&self, dir: Option<&Path>) -> Result<(Images, Images, Vec<String>), DataError> {
        let folder = self.folder(dir)?;
        if let Some(cifar) = self.cifar() {
            return cifar.load(&folder);
        }
        let name = self.source.name();
        let path = |file: &KnownFile| {
            Self::find(&folder, file).ok_or_else(|| DataError::Missing {
                path: folder.join(format!("{}.gz", file.name)),
                hint: format!("fetch it with `regulus data fetch {name}`, or set `data.dir` to the folder that has it"),
            })
        };
        let [train_images, train_labels, test_images, test_labels] = self.files else {
            unreachable!("other datasets have four files");
        };
        let train = [path(train_images)?, path(train_labels)?];
        let test = [path(test_images)?, path(test_labels)?];
        let (train, test) = rayon::join(|| idx::read_pair(&train[0], &train[1]), || idx::read_pair(&test[0], &test[1]));
        Ok((train?, test?, Vec::new()))
    }
}
