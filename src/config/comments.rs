//! A config with a comment before each key.

use super::Experiment;
use super::reference::{Default, Key, Section, backticked, reference};

/// The width of comments.
const WIDTH: usize = 100;

impl Experiment {
    /// The experiment as TOML with all defaults, and what each key means before it. [`Experiment::load`] reads it back unchanged.
    #[must_use]
    pub fn to_commented_toml(&self) -> String {
        let sections = reference();
        let mut section = sections.first();
        let mut lines = Vec::new();
        for statement in statements(&self.to_toml()) {
            if let Some(path) = statement.strip_prefix('[') {
                section = sections.iter().find(|section| section.path == path.trim_matches(['[', ']']));
                lines.extend(section.map(|section| comment(&section.introduction, "")).into_iter().flatten());
            } else if let Some((name, _)) = statement.split_once(" = ")
                && let Some(section) = section
                && let Some(key) = section.keys.iter().find(|key| key.name == name)
            {
                lines.extend(described(key, section));
            }
            lines.push(statement);
        }
        lines.join("\n") + "\n"
    }
}

/// The lines of a TOML file, with those of a string of several lines joined.
fn statements(toml: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut is_complete = true;
    for line in toml.lines() {
        match statements.last_mut().filter(|_| !is_complete) {
            Some(statement) => statement.extend(["\n", line]),
            None => statements.push(line.to_owned()),
        }
        is_complete = statements.last().is_none_or(|statement| toml::from_str::<toml::Table>(statement).is_ok());
    }
    statements
}

/// The comment of a key: its meaning, kinds, values and default, and a line for each of its words.
fn described(key: &Key, section: &Section) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(tag) = section.tag.as_ref().filter(|_| !key.kinds.is_empty()) {
        facts.push(format!("{tag} {}", key.kinds_in_words()));
    }
    if key.words.is_empty() {
        facts.push(key.values.clone());
    }
    facts.push(match &key.default {
        Default::Required => "required".to_owned(),
        Default::Value(value) => format!("default {value}"),
        Default::Words(words) if words.starts_with("required") => words.clone(),
        Default::Words(words) => format!("default: {words}"),
    });
    let words = key.words.iter().flat_map(|(words, meaning)| comment(&format!("{}: {meaning}", backticked(words)), "  "));
    comment(&format!("{} ({})", key.text, facts.join("; ")), "").into_iter().chain(words).collect()
}

/// Text as lines of a comment. All lines are indented by `indent`, further lines of it once more.
fn comment(text: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![format!("# {indent}")];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = |line: &str| line.chars().count();
        if lines.last().is_some_and(|line| length(line) + length(word) > WIDTH) {
            lines.push(format!("# {indent}{indent}"));
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
            line.push(' ');
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).filter(|line| line != "#").collect()
}

#[cfg(test)]
mod tests {
    use crate::config::Experiment;

    #[test]
    fn a_commented_config_reads_back_as_itself() {
        let files = [
            "[data]\nsource = \"mnist_mini\"\n[[penalty]]\nkind = \"l2\"\nlambda = 1\n[[penalty]]\nkind = \"decoupled\"\nschedule.kind = \"cpr\"\n",
            "[data]\nsource = \"idx\"\ndir = \"x\\ny\"\nclasses = [\"a\\nshuffle = false\\n[model]\", \"\\\"\\\"\\\"\"]\n",
        ];
        for text in files {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), format!("name = \"a\"\n{text}")).unwrap();
            let experiment = Experiment::load(file.path(), &[]).unwrap();
            let commented = experiment.to_commented_toml();
            std::fs::write(file.path(), &commented).unwrap();
            assert_eq!(Experiment::load(file.path(), &[]).unwrap(), experiment, "{commented}");
            let uncommented: Vec<&str> = commented.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(uncommented.join("\n") + "\n", experiment.to_toml());
            assert!(commented.lines().all(|line| !line.starts_with('#') || line.chars().count() <= super::WIDTH), "{commented}");
        }
    }

    #[test]
    fn every_key_has_a_comment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "name = \"a\"\n[data]\nsource = \"mnist_mini\"\n[[penalty]]\nkind = \"l2\"\nlambda = 1\n").unwrap();
        let commented = Experiment::load(file.path(), &[]).unwrap().to_commented_toml();
        let lines: Vec<&str> = commented.lines().collect();
        let uncommented = lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#') && !pair[0].starts_with('#'));
        assert_eq!(uncommented.count(), 0, "{commented}");
        assert!(commented.contains("# Passes over the training split. (whole number ≥ 1; default 10)\nepochs = 10\n"), "{commented}");
    }
}
