//! Lists of indexes as people and Slurm write them, such as `3,7-9`.

/// The indexes, in increasing order, as ranges.
#[must_use]
pub fn index_ranges(indexes: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let range = |(first, last): (usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.into_iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::index_ranges;

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(index_ranges(&[3, 7, 8, 9, 11, 12]), "3,7-9,11-12");
        assert_eq!(index_ranges(&[0, 1, 2]), "0-2");
        assert_eq!(index_ranges(&[]), "");
    }
}
