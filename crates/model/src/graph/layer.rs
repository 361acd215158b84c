//! A layer as a config writes it.

use serde::{Deserialize, Serialize};

use super::words::Words;
use super::{Builder, Op};

/// A line of `model.layers`: an operation with what it takes and what it is called, such as `conv 32 3x3 stride 2 from block1 as shortcut`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Layer(String);

impl TryFrom<String> for Layer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

impl From<Layer> for String {
    fn from(layer: Layer) -> Self {
        layer.0
    }
}

impl Layer {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        read(text, 2).map(|_| Self(text.to_owned())).map_err(|problem| format!("layer `{text}` {problem}"))
    }

    /// Adds it to a network that tells `classes` classes apart.
    pub(crate) fn add_to(&self, network: &mut Builder, classes: usize) -> Result<(), String> {
        let Line { op, other, from, name } = read(&self.0, classes)?;
        let own = from.map_or_else(|| network.last(), ToOwned::to_owned);
        let inputs = match (&op, other.map(ToOwned::to_owned)) {
            (Op::Subtract(_), Some(other)) => vec![other, own],
            (_, Some(other)) => vec![own, other],
            (_, None) => vec![own],
        };
        network.node(name, op, inputs);
        Ok(())
    }
}

struct Line<'a> {
    op: Op,
    /// The other input of `add`; what `subtract` takes from.
    other: Option<&'a str>,
    from: Option<&'a str>,
    name: Option<&'a str>,
}

fn read(text: &str, classes: usize) -> Result<Line<'_>, String> {
    let mut words = Words::new(text);
    let op = Op::parse(&mut words, classes)?;
    let other = match op {
        Op::Add(_) => Some(words.own().ok_or("lacks the layer to add; expected for example `add block1`")?),
        Op::Subtract(_) => Some(words.own().ok_or(
            "lacks the layer to take it from; expected for example `subtract image`: the image minus what the layer before gives",
        )?),
        _ => None,
    };
    let mut line = Line { op, other, from: None, name: None };
    while let Some(word) = words.next() {
        let to = match word {
            "from" => &mut line.from,
            "as" => &mut line.name,
            _ => return Err(format!("has `{word}`; expected nothing more, `from LAYER` or `as NAME`")),
        };
        let name = words.own().ok_or_else(|| format!("ends in `{word}`; expected a name after it"))?;
        if to.replace(name).is_some() {
            return Err(format!("has `{word}` twice"));
        }
    }
    Ok(line)
}
