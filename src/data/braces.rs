//! Lists and ranges in braces, as in a shell: `shard-{000..099}.tar`, `{cats,dogs}.tar`.

/// The largest number of names.
const MOST: usize = 1_000_000;

/// The names that `pattern` stands for, in order. Numbers of a range have as many digits as the longer of its ends with a leading zero.
///
/// # Errors
///
/// In words, when a brace is not closed, inside another, or has neither a list nor a range, or when there are too many names.
pub(super) fn expanded(pattern: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return if pattern.contains('}') { Err("has a `}` without a `{`".to_owned()) } else { Ok(vec![pattern.to_owned()]) };
    };
    if before.contains('}') {
        return Err("has a `}` without a `{`".to_owned());
    }
    let (inside, after) = rest.split_once('}').ok_or("has a `{` without a `}`")?;
    if inside.contains('{') {
        return Err("has braces inside braces".to_owned());
    }
    let choices = choices(inside)?;
    let rest = expanded(after)?;
    if choices.len().saturating_mul(rest.len()) > MOST {
        return Err(format!("stands for more than {MOST} names"));
    }
    Ok(choices.iter().flat_map(|choice| rest.iter().map(move |after| format!("{before}{choice}{after}"))).collect())
}

fn choices(inside: &str) -> Result<Vec<String>, String> {
    let problem = || format!("has `{{{inside}}}`; expected a range, such as `{{000..099}}`, or a list, such as `{{a,b}}`");
    let Some((first, last)) = inside.split_once("..") else {
        return if inside.contains(',') { Ok(inside.split(',').map(str::to_owned).collect()) } else { Err(problem()) };
    };
    let number = |text: &str| text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(problem);
    let (from, to) = (number(first)?, number(last)?);
    if from > to || to - from >= MOST {
        return Err(problem());
    }
    let is_padded = |text: &str| text.len() > 1 && text.starts_with('0');
    let digits = if is_padded(first) || is_padded(last) { first.len().max(last.len()) } else { 0 };
    Ok((from..=to).map(|number| format!("{number:0digits$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_expanded_as_a_shell_does() {
        let of = |pattern: &str| expanded(pattern).unwrap().join(" ");
        // As bash prints them.
        assert_eq!(of("a.tar"), "a.tar");
        assert_eq!(of("a-{008..011}.tar"), "a-008.tar a-009.tar a-010.tar a-011.tar");
        assert_eq!(of("{9..11}"), "9 10 11");
        assert_eq!(of("{1..010}").split(' ').next(), Some("001"));
        assert_eq!(of("{a,b}{0..1}"), "a0 a1 b0 b1");
        for refused in ["{", "}", "a}{b,c}", "{a}", "{2..1}", "{a..b}", "{{1..2}}", "{0..9999999}", "{-1..2}", "{0..9999}{0..9999}"] {
            assert!(expanded(refused).is_err(), "{refused}");
        }
    }
}
