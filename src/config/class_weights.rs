//! `train.class_weights` and `train.sampling`: how much and how often the training samples of each class count.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, MapAccess, SeqAccess, Visitor, value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::Positive;
use super::schema::inline_schema;
use super::{ConfigError, Experiment, Lambda};

/// The weights of classes in the data loss of training.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClassWeights {
    /// Every sample counts the same.
    #[default]
    None,
    /// m/(K·n): inversely proportional to the number n of training samples of the class.
    Balanced,
    /// One number for each class, in the order of the labels.
    List(Vec<Positive>),
    /// One number for each class, by its name.
    Table(BTreeMap<String, Positive>),
}

/// How training samples are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Each sample once in each epoch.
    #[default]
    Uniform,
    /// Each class equally often, in as many steps as with `uniform`. Within a class no sample is drawn again before all were. Of a large class an epoch has a part
    /// only, of a small class several passes.
    Balanced,
}

const WORDS: [&str; 2] = ["none", "balanced"];

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str(WORDS[0]),
            Self::Balanced => serializer.serialize_str(WORDS[1]),
            Self::List(numbers) => numbers.serialize(serializer),
            Self::Table(numbers) => numbers.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        const EXPECTED: &str = "\"none\", \"balanced\", or a list or table with a number > 0 for each class";

        impl<'de> Visitor<'de> for Words {
            type Value = ClassWeights;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<ClassWeights, E> {
                match word {
                    "none" => Ok(ClassWeights::None),
                    "balanced" => Ok(ClassWeights::Balanced),
                    _ => Err(E::custom(format!("is {word:?}; expected {EXPECTED}"))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ClassWeights, A::Error> {
                Vec::deserialize(value::SeqAccessDeserializer::new(list)).map(ClassWeights::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<ClassWeights, A::Error> {
                BTreeMap::deserialize(value::MapAccessDeserializer::new(table)).map(ClassWeights::Table)
            }
        }

        deserializer.deserialize_any(Words)
    }
}

inline_schema!(ClassWeights, |generator| {
    let number = generator.subschema_for::<Positive>();
    let words = schemars::json_schema!({ "type": "string", "enum": WORDS });
    let list = schemars::json_schema!({ "type": "array", "items": number, "minItems": 1, "x-values": "a list" });
    let table = schemars::json_schema!({ "type": "object", "additionalProperties": number, "minProperties": 1, "x-values": "table of numbers > 0" });
    schemars::json_schema!({ "anyOf": [words, list, table] })
});

impl ClassWeights {
    /// The weight v of each class, in the order of `classes`, for training samples that have `counts` of them. Scaled so that the mean over the training samples is
    /// 1: v = w·m / Σ over the training samples of their w, m being their number. Returns `None` if every sample counts the same.
    ///
    /// # Errors
    ///
    /// When the numbers are not those of the classes, or "balanced" meets a class without training samples.
    pub fn of_classes(&self, classes: &[String], counts: &[usize]) -> Result<Option<Vec<f64>>, ConfigError> {
        let refuse = |problem: String| Err(ConfigError::value(KEY, problem));
        let numbers: Vec<f64> = match self {
            Self::None => return Ok(None),
            Self::Balanced => {
                if let Some(absent) = absent(classes, counts) {
                    let problem = format!(
                        "is \"balanced\", but there is no training image of {absent}; add images, remove the class, or give a table of weights"
                    );
                    return refuse(problem);
                }
                counts.iter().map(|count| 1.0 / *count as f64).collect()
            }
            Self::List(numbers) if numbers.len() != classes.len() => {
                let [found, wanted] = [numbers.len(), classes.len()];
                return refuse(format!("has {found} numbers; expected {wanted}, one for each class: {}", named(classes)));
            }
            Self::List(numbers) => numbers.iter().map(|number| number.get()).collect(),
            Self::Table(table) => {
                if let Some(unknown) = table.keys().find(|name| !classes.contains(name)) {
                    let known: Vec<&str> = classes.iter().map(String::as_str).collect();
                    let hint = regulus_model::spelling::hint(unknown, &known);
                    return refuse(format!("names `{unknown}`, which is no class of the data; {hint}"));
                }
                let absent = named(classes.iter().filter(|class| !table.contains_key(*class)));
                if !absent.is_empty() {
                    return refuse(format!("has no number for {absent}; expected one for each class"));
                }
                classes.iter().map(|class| table[class].get()).collect()
            }
        };
        let samples: usize = counts.iter().sum();
        let sum: f64 = numbers.iter().zip(counts).map(|(number, count)| number * *count as f64).sum();
        Ok(Some(numbers.iter().map(|number| number * samples as f64 / sum).collect()))
    }
}

impl Sampling {
    /// Checks that there are samples to draw.
    ///
    /// # Errors
    ///
    /// When classes are to be drawn equally often, and one has no training sample.
    pub fn check(self, classes: &[String], counts: &[usize]) -> Result<(), ConfigError> {
        let Some(absent) = absent(classes, counts).filter(|_| self == Self::Balanced) else { return Ok(()) };
        let problem = format!("is \"balanced\", but there is no training image of {absent}; add images, or remove the class");
        Err(ConfigError::value(SAMPLING, problem))
    }
}

const KEY: &str = "train.class_weights";
const SAMPLING: &str = "train.sampling";

/// The classes without training samples. Returns `None` if all have some.
fn absent(classes: &[String], counts: &[usize]) -> Option<String> {
    let absent = named(classes.iter().zip(counts).filter(|(_, count)| **count == 0).map(|(class, _)| class));
    (!absent.is_empty()).then_some(absent)
}

/// Class names in backticks, separated by commas.
fn named<'a>(classes: impl IntoIterator<Item = &'a String>) -> String {
    classes.into_iter().map(|class| format!("`{class}`")).collect::<Vec<_>>().join(", ")
}

impl Experiment {
    /// The key by which classes count otherwise than by their numbers of training samples. Returns `None` if there is none.
    #[must_use]
    pub fn reweighting_key(&self) -> Option<&'static str> {
        let weighted = (self.train.class_weights != ClassWeights::None).then_some(KEY);
        weighted.or((self.train.sampling == Sampling::Balanced).then_some(SAMPLING))
    }

    /// Checks that classes are not balanced twice, and that nothing is computed of the likelihood of the training data, which this changes.
    pub(super) fn check_reweighting(&self) -> Result<(), ConfigError> {
        let Some(key) = self.reweighting_key() else { return Ok(()) };
        if self.train.sampling == Sampling::Balanced && key != SAMPLING {
            let problem = format!(
                "is set beside `{SAMPLING}` = \"balanced\", which makes all classes count the same by itself; leave one of them out"
            );
            return Err(ConfigError::value(key, problem));
        }
        if self.train.sampling == Sampling::Balanced && !self.data.shuffle {
            let problem = "is \"balanced\", which draws samples in a random order, but `data.shuffle` is false; leave one of them out";
            return Err(ConfigError::value(SAMPLING, problem));
        }
        let evidence = self.penalty.iter().position(|penalty| matches!(penalty.schedule, Lambda::Evidence { .. }));
        let Some(index) = evidence else { return Ok(()) };
        let problem = format!(
            "is set, but `penalty.{index}.schedule.kind` = \"evidence\" computes the likelihood of training images that all count the same; leave one of them out"
        );
        Err(ConfigError::value(key, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(text: &str, counts: &[usize]) -> Result<Option<Vec<f64>>, String> {
        let classes: Vec<String> = ["cat", "dog", "owl"].map(str::to_owned).to_vec();
        let config = format!("name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[train]\nclass_weights = {text}\n");
        let experiment = Experiment::from_toml(&config).map_err(|error| error.to_string())?;
        assert_eq!(Experiment::from_toml(&experiment.to_toml()).unwrap(), experiment);
        experiment.train.class_weights.of_classes(&classes, counts).map_err(|error| error.to_string())
    }

    /// The numbers of "balanced" are those of scikit-learn 1.9: `compute_class_weight("balanced", classes=[0, 1, 2], y=[0]*6 + [1]*3 + [2])`.
    #[test]
    fn weights_have_the_mean_1_over_the_training_samples() {
        let counts = [6, 3, 1];
        assert_eq!(weights("\"none\"", &counts), Ok(None));
        let near = |found: Result<Option<Vec<f64>>, String>, expected: [f64; 3]| {
            let found = found.unwrap().unwrap();
            assert!(
                found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12),
                "{found:?}, expected {expected:?}"
            );
        };
        near(weights("\"balanced\"", &counts), [0.555_555_555_555_555_6, 1.111_111_111_111_111_2, 3.333_333_333_333_333_5]);
        // 6·1 + 3·2 + 1·8 = 20 for 10 samples: each number is halved.
        near(weights("[1, 2, 8]", &counts), [0.5, 1.0, 4.0]);
        near(weights("{ owl = 8, cat = 1, dog = 2 }", &counts), [0.5, 1.0, 4.0]);
        near(weights("[10, 20, 80]", &counts), [0.5, 1.0, 4.0]);
        near(weights("[1, 1, 5]", &[2, 2, 0]), [1.0, 1.0, 5.0]);
    }

    #[test]
    fn messages_name_the_class() {
        let messages = [
            "\"balance\"",
            "3",
            "[]",
            "[1, 2]",
            "[1, 2, -1]",
            "{ cat = 1, dgo = 2, owl = 1 }",
            "{ cat = 1 }",
            "{ cat = 0 }",
            "\"balanced\"",
        ]
        .map(|text| weights(text, &[6, 3, 0]).unwrap_err());
        let evidence = "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[train]\nclass_weights = \"balanced\"\n[[penalty]]\nkind = \"l2\"\nlambda = 1\n[penalty.schedule]\nkind = \"evidence\"\n";
        let evidence = Experiment::from_toml(evidence).unwrap_err().to_string();
        let sampling = [
            "class_weights = \"balanced\"",
            "[data]\nshuffle = false",
            "[[penalty]]\nkind = \"l2\"\nlambda = 1\n[penalty.schedule]\nkind = \"evidence\"",
        ]
        .map(|more| {
            let (of_data, more) = more.strip_prefix("[data]").map_or(("", more), |more| (more, ""));
            let config = format!("name = \"a\"\n[data]\nsource = \"mnist_mini\"{of_data}\n[train]\nsampling = \"balanced\"\n{more}\n");
            Experiment::from_toml(&config).unwrap_err().to_string()
        });
        let classes = ["cat", "dog", "owl"].map(str::to_owned);
        assert!(Sampling::Balanced.check(&classes, &[1, 2, 3]).is_ok() && Sampling::Uniform.check(&classes, &[1, 0, 3]).is_ok());
        let absent = Sampling::Balanced.check(&classes, &[1, 0, 0]).unwrap_err().to_string();
        insta::assert_snapshot!([&messages[..], &[evidence], &sampling, &[absent]].concat().join("\n"));
    }
}
