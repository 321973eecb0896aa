//! The blocks `credential` and `source`: each has a `kind`, and each kind its own keys.

use std::path::Path;
use std::sync::Arc;

use serde_saphyr::Spanned;

use super::raw::{self, Columns, Key};
use super::rules::{self, Checked};
use super::{Credential, DEFAULT_PAGE_SIZE, Error, SESSIONS_REPORT_PATH, Secret, Source, files};
use crate::session::Property;

/// A block, or one key of it, with its place: what an error has to name.
pub(super) struct Place {
    pub key: String,
    pub line: u64,
}

/// What the configuration knows of a kind.
struct Kind {
    name: &'static str,
    keys: &'static [&'static str],
    supported: bool,
}

const CREDENTIALS: &[Kind] = &[
    Kind { name: "client_secret", keys: &["client_id", "client_secret", "client_secret_file"], supported: true },
    Kind { name: "bearer_token_file", keys: &["token_file"], supported: true },
    Kind { name: "none", keys: &[], supported: true },
    Kind {
        name: "client_certificate",
        keys: &["client_id", "certificate_file", "certificate_password_file"],
        supported: false,
    },
    Kind { name: "workload_identity", keys: &["client_id", "token_file"], supported: false },
    Kind { name: "managed_identity", keys: &["client_id"], supported: false },
    Kind { name: "azure_cli", keys: &[], supported: false },
];

const SOURCES: &[Kind] = &[
    Kind { name: "sessions_report", keys: &["page_size", "columns", "path"], supported: true },
    Kind { name: "collection", keys: &["path", "page_size"], supported: true },
    Kind { name: "export_job", keys: &["columns", "select", "job_timeout"], supported: false },
    Kind { name: "files", keys: &["directory"], supported: false },
];

/// The rules of `credential`.
pub(super) fn credential(raw: &raw::Credential, place: &Place, base: &Path) -> Result<Credential, Error> {
    let given = [
        ("client_id", line(&raw.client_id)),
        ("client_secret", line(&raw.client_secret)),
        ("client_secret_file", line(&raw.client_secret_file)),
        ("certificate_file", line(&raw.certificate_file)),
        ("certificate_password_file", line(&raw.certificate_password_file)),
        ("token_file", line(&raw.token_file)),
    ];
    match kind(CREDENTIALS, &raw.kind, &given, place)? {
        "client_secret" => Ok(Credential::ClientSecret {
            client_id: place.required("client_id", &raw.client_id, |id| rules::client_id(id))?,
            secret: client_secret(raw, place, base)?,
        }),
        "bearer_token_file" => Ok(Credential::BearerTokenFile {
            token_file: place.required("token_file", &raw.token_file, |name| files::secret(name, base))?,
        }),
        _ => Ok(Credential::None),
    }
}

fn client_secret(raw: &raw::Credential, place: &Place, base: &Path) -> Result<Secret, Error> {
    match (&raw.client_secret, &raw.client_secret_file) {
        (Some(_), Some(file)) => {
            Err(place.child("client_secret_file", file).error("client_secret is given as well; remove one of the two"))
        }
        (None, None) => Err(place.missing("client_secret_file", "name the file that holds the secret")),
        (Some(secret), None) if secret.value.trim().is_empty() => {
            Err(place.child("client_secret", secret).error("empty; give the secret's value"))
        }
        (Some(secret), None) => Ok(Secret::Inline(Arc::from(secret.value.as_str()))),
        (None, Some(file)) => {
            place.child("client_secret_file", file).check(files::secret(&file.value, base)).map(Secret::File)
        }
    }
}

/// The rules of `source`.
pub(super) fn source(raw: &raw::Source, place: &Place) -> Result<Source, Error> {
    let given = [
        ("page_size", line(&raw.page_size)),
        ("columns", line(&raw.columns)),
        ("path", line(&raw.path)),
        ("select", line(&raw.select)),
        ("job_timeout", line(&raw.job_timeout)),
        ("directory", line(&raw.directory)),
    ];
    let kind = kind(SOURCES, &raw.kind, &given, place)?;
    let page_size = place.optional("page_size", &raw.page_size, |rows| rules::page_size(*rows))?;
    if kind == "collection" {
        let path = place.required("path", &raw.path, |path| rules::path(path))?;
        return Ok(Source::Collection { path, page_size });
    }
    let columns = raw.columns.as_ref().map_or(Ok(Vec::new()), |block| columns(block, place))?;
    Ok(Source::SessionsReport {
        page_size: page_size.unwrap_or(DEFAULT_PAGE_SIZE),
        path: place
            .optional("path", &raw.path, |path| rules::path(path))?
            .unwrap_or_else(|| SESSIONS_REPORT_PATH.to_owned()),
        columns,
    })
}

fn columns(block: &Spanned<Columns>, source: &Place) -> Result<Vec<(Property, String)>, Error> {
    let place = source.child("columns", block);
    let mapping = |(name, column): (&String, &Spanned<String>)| {
        let place = Place { key: place.key.clone(), line: column.referenced.line() };
        let property = place.check(rules::property(name))?;
        let column = place.child(property.name(), column).check(rules::column(&column.value))?;
        Ok((property, column))
    };
    block.value.iter().map(mapping).collect()
}

/// The block's kind: known, supported, and with keys of its own only.
fn kind(
    kinds: &'static [Kind],
    typed: &Key<String>,
    given: &[(&'static str, Option<u64>)],
    place: &Place,
) -> Result<&'static str, Error> {
    let names = || kinds.iter().filter(|kind| kind.supported).map(|kind| kind.name).collect::<Vec<_>>().join(", ");
    let Some(typed) = typed else {
        return Err(place.missing("kind", &format!("choose one of {}", names())));
    };
    let kind_place = place.child("kind", typed);
    let Some(kind) = kinds.iter().find(|kind| kind.name == typed.value) else {
        return Err(kind_place.error(format!("unknown; choose one of {}", names())));
    };
    if !kind.supported {
        return Err(kind_place.error(format!("{} is not supported yet; choose one of {}", kind.name, names())));
    }
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
