//! The fuzz targets hold for their corpus: what was found once is not broken again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

fn fuzz(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(path)
}

/// The names of what a directory holds, without `.rs`.
fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz(directory)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().trim_end_matches(".rs").to_owned()).collect()
}

#[test]
fn every_target_holds_for_its_corpus_and_for_what_is_cut_off_it() {
    /// Where an input is cut: as many places at most.
    const CUTS: usize = 40;
    for (name, target) in targets::ALL {
        let files: Vec<_> = fs::read_dir(fuzz("corpus").join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() >= 3, "{name} has {} seeds", files.len());
        for file in files {
            let input = fs::read(&file).unwrap();
            assert!(input.len() <= 4096, "{}: seeds are small", file.display());
            let step = input.len() / CUTS + 1;
            for end in (0..input.len()).step_by(step).chain([input.len()]) {
                let outcome = std::panic::catch_unwind(|| target(&input[..end]));
                assert!(outcome.is_ok(), "{name}: {} cut to {end} bytes", file.display());
            }
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let known: BTreeSet<_> = targets::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("corpus"), known);
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for name in known {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
        let program = fs::read_to_string(fuzz("fuzz_targets").join(&name).with_extension("rs")).unwrap();
        assert!(program.contains(&format!("fuzz_target!(|input: &[u8]| targets::{name}(input))")), "{name}");
    }
}
