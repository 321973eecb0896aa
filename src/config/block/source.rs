//! The block `source`.

use std::path::Path;

use serde_saphyr::Spanned;

use super::{Kind, Place, kind, line};
use crate::config::raw::{self, Columns};
use crate::config::{
    DEFAULT_JOB_TIMEOUT, DEFAULT_PAGE_SIZE, EXPORT_COLUMNS, Error, SESSIONS_REPORT_PATH, Source, rules,
};
use crate::session::Property;

const SOURCES: &[Kind] = &[
    Kind { name: "sessions_report", keys: &["page_size", "columns", "path"] },
    Kind { name: "collection", keys: &["path", "page_size"] },
    Kind { name: "export_job", keys: &["columns", "select", "job_timeout"] },
    Kind { name: "files", keys: &["directory", "columns"] },
];

/// The rules of `source`.
pub(in crate::config) fn source(raw: &raw::Source, place: &Place, base: &Path) -> Result<Source, Error> {
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
    if kind == "files" {
        // Whether it is there is told by each poll: a share may be mounted later, and one tenant's is
        // no reason to keep the others waiting.
        let directory = place.required("directory", &raw.directory, |name| rules::directory(name))?;
        return Ok(Source::Files { directory: base.join(directory), columns });
    }
    if kind == "export_job" {
        return Ok(Source::ExportJob {
            columns,
            select: raw.select.as_ref().map_or_else(|| Ok(documented()), |list| select(list, place))?,
            job_timeout: place
                .optional("job_timeout", &raw.job_timeout, |text| rules::job_timeout(text))?
                .unwrap_or(DEFAULT_JOB_TIMEOUT),
        });
    }
    Ok(Source::SessionsReport {
        page_size: page_size.unwrap_or(DEFAULT_PAGE_SIZE),
        path: place
            .optional("path", &raw.path, |path| rules::path(path))?
            .unwrap_or_else(|| SESSIONS_REPORT_PATH.to_owned()),
        columns,
    })
}

fn documented() -> Vec<String> {
    EXPORT_COLUMNS.iter().map(|name| (*name).to_owned()).collect()
}

fn select(list: &Spanned<Vec<Spanned<String>>>, source: &Place) -> Result<Vec<String>, Error> {
    let place = source.child("select", list);
    place.check(rules::select_length(list.value.len()))?;
    let mut names: Vec<String> = Vec::with_capacity(list.value.len());
    for (index, name) in list.value.iter().enumerate() {
        let place = Place { key: format!("{}[{index}]", place.key), line: name.referenced.line() };
        let name = place.check(rules::column(&name.value))?;
        if names.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            return Err(place.error("is in the list already; remove one of the two"));
        }
        names.push(name);
    }
    Ok(names)
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
