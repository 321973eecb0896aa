//! From text to the typed layer, and the YAML library's errors in our words. The library quotes the
//! input in some of its messages; ours never do, except for a key that looks like one and does not
//! stand beside secrets.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use serde_saphyr::Error as Yaml;

use super::Error;

/// Reads one document.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let mut key = String::new();
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            key = key_path(error.path());
            error.into_inner()
        })
    })
    .map_err(|error: Yaml| {
        let line = error.location().map_or(0, |location| location.line());
        let problem = describe(&error, &key);
        Error::new(key, line, problem)
    })
}

/// The path as a user would write it: `tenants[2].credential.client_id`.
fn key_path(path: &Path) -> String {
    /// What `Spanned` calls the value it wraps. No key of ours has this name.
    const WRAPPED: &str = "value";
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } if key == WRAPPED => {}
            Segment::Map { key } if may_be_shown(key, &text) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Segment::Map { .. } | Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

/// Whether a key of the block `path` may be shown: not in a credential or among users, where a line
/// without its key leaves a secret in the key's place. Elsewhere digits, punctuation and length tell a secret.
fn may_be_shown(key: &str, path: &str) -> bool {
    /// `certificate_password_file` has 25.
    const LONGEST: usize = 28;
    !path.ends_with("credential")
        && !path.ends_with("basic_auth_users")
        && key.len() <= LONGEST
        && key.chars().all(|c| c.is_ascii_alphabetic() || c == '_' || c == '-')
}

fn describe(error: &Yaml, path: &str) -> String {
    match error.without_snippet() {
        Yaml::AliasError { error, .. } => describe(error, path),
        Yaml::SerdeUnknownField { expected, .. } => unknown_key(expected, path),
        Yaml::DuplicateMappingKey { key, .. } => match key {
            Some(key) if may_be_shown(key, path) => format!("the key {key} stands here twice; remove one"),
            _ => "a key stands here twice; remove one".to_owned(),
        },
        Yaml::InvalidScalar { ty, .. } if ty.starts_with(['u', 'i']) => "expected a whole number".to_owned(),
        Yaml::InvalidScalar { .. } => "expected a number".to_owned(),
        Yaml::InvalidBooleanStrict { .. } => "expected true or false".to_owned(),
        Yaml::Unexpected { expected, .. } => match *expected {
            "mapping start" => "expected keys with values".to_owned(),
            "sequence start" => "expected a list, with a dash before each item".to_owned(),
            _ => "expected one plain value, not a list or a block of keys".to_owned(),
        },
        Yaml::NullIntoString { .. } => "has no value; give it one or remove the key".to_owned(),
        Yaml::UnknownAnchor { .. } => {
            "an alias without an anchor; quote a text that starts with an asterisk".to_owned()
        }
        Yaml::MultipleDocuments { .. } => "a second YAML document starts here; keep one".to_owned(),
        Yaml::Budget { .. } => "too large or too deeply nested; make it plainer".to_owned(),
        Yaml::ExternalMessage { msg, .. } => {
            // The scanner's messages are fixed texts; a few quote one character after a backtick.
            let fixed = msg.split('`').next().unwrap_or_default().trim_end_matches([' ', ':']);
            format!("not valid YAML: {fixed}; quote texts with special characters and indent by spaces")
        }
        Yaml::Eof { .. } => "not valid YAML: it ends too early".to_owned(),
        _ => "not a value that this key can take; write plain YAML without tags".to_owned(),
    }
}

/// What can be said of an unknown key. `path` ends with it, unless it must not be shown.
fn unknown_key(known: &[&str], path: &str) -> String {
    // `global` is read into the same structure as a tenant, but has not all of its keys.
    let in_global = path.strip_prefix("global").is_some_and(|rest| rest.matches('.').count() <= 1);
    let known = known.iter().copied().filter(|key| !(in_global && super::TENANT_ONLY_KEYS.contains(key)));
    format!("unknown key; known here: {}", known.collect::<Vec<_>>().join(", "))
}
