//! `docs/config.md`, the reference of all keys.

use std::fmt::Write;

use super::reference::{Default, Key, Section, backticked, reference};

/// What stands before the sections.
const INTRODUCTION: &str = "\
# Config

An experiment is one TOML file. `regulus check CONFIG` prints it with every default, and with `--comments` what each key means. The tables below
mark required keys by `required` in the column of defaults. In some sections, `kind` (in `[data]` it is `source`) selects which other keys exist:
the column `kinds` names the kinds that have a key. An unknown key is an error, and so is a key of a kind that is not selected.

- Relative paths start from the current folder.
- `--set KEY=VALUE` sets a key. The value is TOML; any other text is a string. A key that expects a string takes the text as typed:
  `--set name=2024-01-01`.
- Penalties are counted from 0. `--set penalty.0.lambda=2` sets λ of the first penalty. A penalty after the last one is added:
  `--set penalty.1.kind=l1 --set penalty.1.lambda=2` adds a second one.
- `--unset KEY` removes a key or a section of the file, before values are set: `--unset model --set model.kind=linear`. It is an error if the file
  does not have it.
- Gradient descent is `optimizer.kind = \"sgd\"` with `train.batch_size = \"full\"`. Stochastic gradient descent with one sample per step is
  `train.batch_size = 1`.
- `regulus check --schema > regulus.schema.json` writes the JSON Schema (draft 2020-12) of a config. Editors with Taplo, such as VS Code with Even
  Better TOML, then complete keys, show their meaning and mark mistakes, if the first line of the config is `#:schema ./regulus.schema.json`.
- The schema accepts some configs that the program refuses. It does not check keys that only some kinds require, such as `penalty.lambda`, and
  rules that involve several sections. `regulus check CONFIG` checks everything.

This page is generated from the definitions that the program reads configs with.
";

/// The reference of all keys, in Markdown.
#[must_use]
pub fn reference_in_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in reference() {
        let Section { path, is_list, introduction, see, tag, keys } = &section;
        let heading = match path.split_once('.') {
            None if path.is_empty() => "## Top level".to_owned(),
            None if *is_list => format!("## `[[{path}]]`"),
            None => format!("## `[{path}]`"),
            Some(_) => format!("### `[{path}]`"),
        };
        let _ = write!(text, "\n{heading}\n\n");
        if !introduction.is_empty() {
            let between = if introduction.chars().count() + see.chars().count() < 150 { ' ' } else { '\n' };
            let _ = write!(text, "{}\n\n", format!("{introduction}{between}{see}").trim_end());
        }
        let kinds = tag.as_ref().map_or(String::new(), |tag| format!(" {tag}s |"));
        let _ = writeln!(text, "| key | default | values |{kinds} meaning |\n|---|---|---|{}---|", if tag.is_some() { "---|" } else { "" });
        keys.iter().for_each(|key| text.push_str(&row(path, tag.as_deref(), key)));
    }
    with_links(&text)
}

/// A text with a link for each number of arXiv, as in the rest of the manual.
fn with_links(text: &str) -> String {
    const NAME: &str = "arXiv ";
    let mut parts = text.split(NAME);
    let mut linked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(part.len()));
        let (number, end) = number.strip_suffix('.').map_or((number, ""), |number| (number, "."));
        let _ = write!(linked, "[{NAME}{number}](https://arxiv.org/abs/{number}){end}{rest}");
    }
    linked
}

fn row(path: &str, tag: Option<&str>, key: &Key) -> String {
    let name = if path.is_empty() { key.name.clone() } else { format!("{path}.{}", key.name) };
    let default = match &key.default {
        Default::Required => "required".to_owned(),
        Default::Value(value) if value.starts_with(['"', '[']) => format!("`{value}`"),
        Default::Value(words) | Default::Words(words) => words.clone(),
    };
    let kinds = match tag {
        None => String::new(),
        Some(tag) if tag == key.name => "  |".to_owned(),
        Some(_) if key.kinds.is_empty() => " all |".to_owned(),
        Some(_) => format!(" {} |", key.kinds_in_words()),
    };
    let words = key.words.iter().map(|(words, meaning)| format!("{}: {meaning}", backticked(words)));
    let meaning: Vec<String> = std::iter::once(key.text.clone()).chain(words).collect();
    // A bar would end the cell.
    let [values, meaning] = [&key.values, &meaning.join("<br>")].map(|cell| cell.replace('|', "\\|"));
    format!("| `{name}` | {default} | {values} |{kinds} {meaning} |\n")
}
