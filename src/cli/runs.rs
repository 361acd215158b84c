//! `regulus runs`.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::json;

use super::print;
use super::report_args::RunsArgs;
use super::runs_table::{runs_table, without_split};
use super::table::{metric_title, one_line};
use crate::error::Error;
use crate::listing::{Kind, Listed, Listing, list};

/// The columns that every run may have. Metrics, such as `accuracy`, and keys of the config can be named, too.
const COLUMNS: [&str; 11] = ["run", "kind", "name", "status", "dataset", "penalty", "lambda", "epochs", "split", "loss", "age"];

pub(super) fn runs(args: &RunsArgs) -> Result<(), Error> {
    let Listing { mut found, unread } = list(&args.folder)?;
    unread.iter().for_each(print::warning);
    let known: Vec<&str> =
        args.sort.iter().map(String::as_str).chain(args.filter.iter().filter_map(|filter| Some(filter.split_once('=')?.0))).collect();
    known.into_iter().try_for_each(|key| check_key(key, &found))?;
    let all = found.len();
    found.retain(|listed| args.filter.iter().all(|filter| is_kept(listed, filter)));
    if let Some(key) = &args.sort {
        found.sort_by(|one, other| order(&values(one, key), &values(other, key), args.reverse));
    } else if args.reverse {
        found.reverse();
    }
    if args.json {
        return found.iter().try_for_each(|listed| {
            let mut line = json!(listed);
            line["age"] = json!(listed.age());
            print::json(&line)
        });
    }
    for (listed, problem) in found.iter().filter_map(|listed| Some((listed, listed.problem.as_ref()?))) {
        print::warning(format_args!("`{}` is not whole: {}", one_line(&listed.path.display().to_string()), one_line(problem)));
    }
    if found.is_empty() {
        let (folder, filters) = (args.folder.display(), quoted(&args.filter));
        print::note(match all {
            0 => format!("no run or sweep in `{folder}`"),
            1 => format!("the only run or sweep in `{folder}` does not match {filters}"),
            _ => format!("none of the {all} runs and sweeps in `{folder}` matches {filters}"),
        });
        return Ok(());
    }
    print::out(runs_table(&found))
}

fn quoted(filters: &[String]) -> String {
    filters.iter().map(|filter| format!("`--filter {filter}`")).collect::<Vec<_>>().join(" and ")
}

/// A value that runs are sorted and filtered by.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Number(f64),
    Word(String),
}

/// The values of a run for a column, a metric or a key of the config: one for each penalty where there are several. Columns and metrics also by the titles of the table.
fn values(listed: &Listed, key: &str) -> Vec<Field> {
    let word = |word: Option<&str>| word.map(|word| Field::Word(word.to_owned())).into_iter().collect();
    let number = |number: Option<f64>| number.map(Field::Number).into_iter().collect();
    match key {
        "run" => word(Some(&listed.path.display().to_string())),
        "kind" => word(Some(if listed.kind == Kind::Run { "run" } else { "sweep" })),
        "name" => word(listed.name.as_deref()),
        "status" => word(Some(listed.status.name())),
        "dataset" => word(listed.dataset.as_deref()),
        "penalty" if listed.penalties.is_empty() => word(Some("none")),
        "penalty" => listed.penalties.iter().cloned().map(Field::Word).collect(),
        "lambda" | "λ" => listed.lambdas.iter().copied().map(Field::Number).collect(),
        "epochs" => number(listed.epochs.map(|epochs| epochs as f64)),
        "split" => word(listed.split.or_else(|| without_split(listed))),
        "loss" => number(listed.loss()),
        "age" => number(listed.age()),
        key => match (
            listed.metrics.iter().find(|(name, _)| *name == key || metric_title(name) == key).map(|(_, value)| value),
            listed.config.as_ref().and_then(|config| config.value(key)),
        ) {
            (Some(value), _) | (None, Some(toml::Value::Float(value))) => number(Some(*value)),
            (None, Some(toml::Value::Integer(whole))) => number(Some(*whole as f64)),
            (None, Some(toml::Value::String(text))) => word(Some(text)),
            (None, Some(value)) => word(Some(&value.to_string())),
            (None, None) => Vec::new(),
        },
    }
}

/// Checks that some run has this key.
fn check_key(key: &str, found: &[Listed]) -> Result<(), Error> {
    if COLUMNS.contains(&key) || key == "λ" || found.is_empty() || found.iter().any(|listed| !values(listed, key).is_empty()) {
        return Ok(());
    }
    let metrics: BTreeSet<&str> = found.iter().flat_map(|listed| listed.metrics.keys().map(String::as_str)).collect();
    let all: Vec<&str> = COLUMNS.into_iter().chain(metrics).collect();
    let hint = regulus_model::spelling::hint(key, &all);
    let keys = if regulus_model::spelling::nearest(key, &all).is_some() {
        ""
    } else {
        ", or a key of the config, such as `seed` or `optimizer.kind`"
    };
    Err(Error::Usage(format!("no run has `{key}`; {hint}{keys}")))
}

/// Whether a filter keeps a run. `KEY=VALUE` compares one value, another text is searched in path, name, status, dataset and penalties.
fn is_kept(listed: &Listed, filter: &str) -> bool {
    let Some((key, wanted)) = filter.split_once('=') else {
        let wanted = filter.to_lowercase();
        let all = ["run", "name", "status", "dataset", "penalty"].into_iter().flat_map(|key| values(listed, key));
        let is_in = |word: &str| word.to_lowercase().contains(&wanted);
        return is_in(&listed.status.shown()) || all.into_iter().any(|field| matches!(field, Field::Word(word) if is_in(&word)));
    };
    // The name of a status, or as the table shows it.
    if key == "status" && wanted == listed.status.shown() {
        return true;
    }
    values(listed, key).iter().any(|field| match field {
        Field::Word(word) => word == wanted,
        #[expect(clippy::float_cmp, reason = "a number that was written in the config, or copied from `--json`")]
        Field::Number(number) => wanted.parse::<f64>().is_ok_and(|wanted| wanted == *number),
    })
}

/// The order by values, from the smallest; from the largest if `is_reverse`. What has none is last.
fn order(one: &[Field], other: &[Field], is_reverse: bool) -> Ordering {
    let (Some(first), Some(second)) = (one.first(), other.first()) else { return one.is_empty().cmp(&other.is_empty()) };
    let order = match (first, second) {
        (Field::Number(first), Field::Number(second)) => first.total_cmp(second),
        (Field::Word(first), Field::Word(second)) => first.cmp(second),
        (Field::Number(_), Field::Word(_)) => Ordering::Less,
        (Field::Word(_), Field::Number(_)) => Ordering::Greater,
    };
    if is_reverse { order.reverse() } else { order }
}
