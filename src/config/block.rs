//! The blocks `credential` and `source`: each has a `kind`, and each kind its own keys.

mod credential;
mod source;

use serde_saphyr::Spanned;

use super::Error;
use super::raw::Key;
use super::rules::Checked;

pub(super) use credential::credential;
pub(super) use source::source;

/// A block, or one key of it, with its place: what an error has to name.
pub(super) struct Place {
    pub key: String,
    pub line: u64,
}

/// What the configuration knows of a kind.
struct Kind {
    name: &'static str,
    keys: &'static [&'static str],
}

/// The block's kind: known, and with keys of its own only.
fn kind(
    kinds: &'static [Kind],
    typed: &Key<String>,
    given: &[(&'static str, Option<u64>)],
    place: &Place,
) -> Result<&'static str, Error> {
    let names = || kinds.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    let Some(typed) = typed else {
        return Err(place.missing("kind", &format!("choose one of {}", names())));
    };
    let kind_place = place.child("kind", typed);
    let Some(kind) = kinds.iter().find(|kind| kind.name == typed.value) else {
        return Err(kind_place.error(format!("unknown; choose one of {}", names())));
    };
    let foreign = given.iter().filter(|(key, _)| !kind.keys.contains(key));
    if let Some((key, line)) = foreign.filter_map(|(key, line)| line.map(|line| (*key, line))).next() {
        let owners: Vec<_> = kinds.iter().filter(|kind| kind.keys.contains(&key)).map(|kind| kind.name).collect();
        let place = Place { key: format!("{}.{key}", place.key), line };
        let (owners, own) = (owners.join(" and "), kind.name);
        return Err(place.error(format!("belongs to kind {owners}, not to {own}; remove it or change the kind")));
    }
    Ok(kind.name)
}

fn line<T>(key: &Key<T>) -> Option<u64> {
    key.as_ref().map(|value| value.referenced.line())
}

impl Place {
    /// The place of a key in this block.
    pub(super) fn child<T>(&self, name: &str, value: &Spanned<T>) -> Self {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        Self { key, line: value.referenced.line() }
    }

    /// An error here.
    pub(super) fn error(&self, problem: impl Into<String>) -> Error {
        Error::new(self.key.as_str(), self.line, problem)
    }

    /// The absence of a key in this block, told with the line of the block.
    pub(super) fn missing(&self, name: &str, remedy: &str) -> Error {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        Error::new(key, self.line, format!("missing; {remedy}"))
    }

    /// A rule's answer about the value here.
    pub(super) fn check<T>(&self, answer: Checked<T>) -> Result<T, Error> {
        answer.map_err(|problem| self.error(problem))
    }

    /// A key of this block that may be absent.
    pub(super) fn optional<'a, T, U>(
        &self,
        name: &str,
        key: &'a Key<T>,
        rule: impl FnOnce(&'a T) -> Checked<U>,
    ) -> Result<Option<U>, Error> {
        key.as_ref().map(|value| self.child(name, value).check(rule(&value.value))).transpose()
    }

    /// A key of this block that has to be there.
    pub(super) fn required<'a, T, U>(
        &self,
        name: &str,
        key: &'a Key<T>,
        rule: impl FnOnce(&'a T) -> Checked<U>,
    ) -> Result<U, Error> {
        self.optional(name, key, rule)?.ok_or_else(|| self.missing(name, "add it"))
    }
}
