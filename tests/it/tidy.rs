//! The rules of the house, held by a test: who imports whom, docs on every file, lengths.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines in a file. Longer ones are split by meaning.
const MAX_LINES: usize = 420;

struct Room {
    imports: BTreeSet<String>,
    alone_uses: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(below: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "no Rust files below {below}");
    files
}

/// The table in `src/lib.rs`.
fn rooms() -> BTreeMap<String, Room> {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let list = |cell: &str| cell.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let rooms: BTreeMap<_, _> = map
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let name = cells[0].trim_end_matches('`').to_owned();
            (name, Room { imports: list(cells[2]), alone_uses: list(cells[3]) })
        })
        .collect();
    assert!(rooms.len() > 5, "the table of rooms was not found in src/lib.rs");
    rooms
}

/// The room of a file below `src`; `None` for the crate's two roots.
fn room_of(file: &Path) -> Option<String> {
    let below = file.strip_prefix(root().join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    let room = first.trim_end_matches(".rs");
    (room != "lib" && room != "main").then(|| room.to_owned())
}

/// The code of a file: without comments, and without the tests at its end. Files of tests have none.
fn code(file: &Path) -> String {
    let of_tests = |part: std::path::Component<'_>| {
        ["tests", "tests.rs", "testing.rs"].map(Some).contains(&part.as_os_str().to_str())
    };
    if file.strip_prefix(root()).unwrap().components().any(of_tests) {
        return String::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The names that follow `prefix` in the code: `crate::NAME`, also in `use crate::{NAME, …}`.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => _ = names.insert(name(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            names.insert(name(&group[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

#[test]
fn imports_run_one_way() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let Some(name) = room_of(&file) else { continue };
        let room = rooms.get(&name).unwrap_or_else(|| panic!("src/lib.rs does not name the room {name:?}"));
        for other in names_after(&code(&file), "crate::") {
            if other != name && rooms.contains_key(&other) && !room.imports.contains(&other) {
                wrong.push(format!("{}: {name} may not import {other}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_names_no_import_that_is_not_made() {
    let mut made: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files("src") {
        let Some(name) = room_of(&file) else { continue };
        made.entry(name).or_default().extend(names_after(&code(&file), "crate::"));
    }
    let mut idle = Vec::new();
    for (name, room) in rooms() {
        let made = made.get(&name).unwrap_or_else(|| panic!("there is no room {name:?}"));
        idle.extend(room.imports.difference(made).map(|other| format!("{name} imports no {other}")));
    }
    assert!(idle.is_empty(), "{idle:#?}");
}

#[test]
fn some_crates_have_one_room() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let name = room_of(&file).unwrap_or_default();
        let code = code(&file);
        for (owner, room) in &rooms {
            for dependency in &room.alone_uses {
                if *owner != name && code.contains(&format!("{dependency}::")) {
                    wrong.push(format!("{}: only {owner} uses {dependency}", file.display()));
                }
            }
        }
        let serves = code.contains("hyper::server") || code.contains("hyper_util::server");
        if serves && name != "web" && name != "simulator" {
            wrong.push(format!("{}: only web and simulator use hyper's server", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_and_none_is_crowded() {
    let mut wrong = Vec::new();
    for file in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let text = fs::read_to_string(&file).unwrap();
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: no `//!` docs at its head", file.display()));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines; at most {MAX_LINES}", file.display()));
        }
        for left in ["TODO", "FIXME", "todo!", "unimplemented!", "#[ignore"] {
            if text.contains(left) && !file.ends_with("tidy.rs") {
                wrong.push(format!("{}: {left}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
