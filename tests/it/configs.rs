//! The configs in `configs/`.

use std::path::Path;

use regulus::config::Experiment;

#[test]
fn every_config_loads_and_states_the_expected_result() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let experiment = Experiment::load(&path, &[]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(Some(experiment.name.as_str()), path.file_stem().and_then(|name| name.to_str()));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Expect"), "{} opens with the expected result", path.display());
        count += 1;
    }
    assert!(count >= 4);
}
