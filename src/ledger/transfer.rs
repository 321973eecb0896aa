//! Tenants with all that was counted of them, from one ledger to another: what the next poll over there
//! finds is known or new just as it would have been here. Nobody else may have the ledger open.
//!
//! A tenant's hashes are made with the salt of the ledger that first counted it, so that goes along.
//! `format` is the file.

mod error;
mod format;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::files::Files;
use super::salt::Salt;
use super::state::{TenantState, number};
use super::store::{SCHEMA_VERSION, Store, StoreError, Tables};
use super::{OpenError, Settings};
pub use error::{Damage, FileError, Standing, TransferError};
use format::{FORMAT, Head, InSection, Reader, Section, VERSION, Writer};

/// What was exported or imported of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub tenant: String,
    /// How many sessions it counts in all.
    pub counted: u64,
    /// How many sessions are known one by one: those that a poll may meet again, and history.
    pub rows: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was written to the export.
    Exported,
    /// It is in the ledger now.
    Imported,
    /// It took the place of what was there.
    Replaced,
    /// It was there already, just so.
    Unchanged,
    /// It was not asked for.
    Skipped,
}

/// A locked ledger.
pub struct Transfer {
    files: Files,
    store: Store,
}

impl Transfer {
    /// Locks the ledger of a directory, which exists.
    pub fn source(directory: &Path) -> Result<Self, TransferError> {
        let path = Files::path_in(directory);
        if !path.exists() {
            return Err(OpenError::Missing { path }.into());
        }
        Self::open(Files::lock(directory)?)
    }

    /// Locks the ledger of a directory, and makes it where there is none.
    pub fn target(directory: &Path) -> Result<Self, TransferError> {
        Self::open(Files::lock(directory)?)
    }

    pub(super) fn open(files: Files) -> Result<Self, TransferError> {
        let store = files.open()?;
        Ok(Self { files, store })
    }

    /// The tenants that are in it, by name.
    pub fn tenants(&self) -> Result<Vec<String>, TransferError> {
        Ok(self.held()?.into_iter().filter(|(_, held)| held.state.moved.is_none()).map(|(name, _)| name).collect())
    }

    /// The tenants that were taken out and have not come back, and when they went.
    pub fn taken_out(&self) -> Result<Vec<(String, DateTime<Utc>)>, TransferError> {
        Ok(self.held()?.into_iter().filter_map(|(name, held)| Some((name, held.state.moved?))).collect())
    }

    /// Writes tenants to `out`, in the order of their names; what was written of each. `exporter` is this release.
    pub fn export(
        &self,
        names: &[String],
        out: &mut dyn Write,
        now: DateTime<Utc>,
        exporter: &str,
    ) -> Result<Vec<Moved>, TransferError> {
        let held = self.held()?;
        let mut chosen = BTreeMap::new();
        for name in names {
            let tenant = held.get(name).ok_or_else(|| self.no_tenant(name, &held))?;
            if let Some(at) = tenant.state.moved {
                return Err(self.files.explain(StoreError::Moved { tenant: name.clone(), at }).into());
            }
            chosen.insert(name, tenant);
        }
        let mut writer = Writer::new(out);
        let (format, exporter) = (FORMAT.to_owned(), exporter.to_owned());
        let head = Head { format, version: VERSION, schema: SCHEMA_VERSION, exporter, exported: now };
        writer.line(&head).map_err(FileError::Write)?;
        let mut moved = Vec::with_capacity(chosen.len());
        for (name, tenant) in &chosen {
            let (_, rows) = section(&self.store, name, tenant, &mut writer).map_err(|error| self.unread(error))?;
            let counted = tenant.state.totals.counted();
            moved.push(Moved { tenant: (*name).clone(), counted, rows, outcome: Outcome::Exported });
        }
        writer.end(chosen.len() as u64).map_err(FileError::Write)?;
        Ok(moved)
    }

    /// Takes exported tenants out: all of them, or after an error none. From then on no exporter polls them
    /// by this ledger, until they are imported again.
    pub fn remove(&self, names: &[String], now: DateTime<Utc>) -> Result<(), TransferError> {
        let held = self.held()?;
        let removed = self.store.write(|tables| {
            for name in names {
                let tenant = held.get(name).ok_or_else(|| self.no_tenant(name, &held))?;
                let number = tenant.state.number;
                tables.clear(number)?;
                let gone = TenantState { moved: Some(now), ..TenantState::new(number, &Settings::of_nobody(), now) };
                tables.set_tenant(name, &gone.encode()?)?;
            }
            Ok(())
        });
        removed.map_err(|error| self.unwritten(error))
    }

    /// Takes the tenants of an export in: those that are `wanted`, all of them or after an error none. Those
    /// that are `named` must be in it.
    pub fn import(
        &self,
        input: impl BufRead,
        named: &[String],
        wanted: impl Fn(&str) -> bool,
        replace: bool,
    ) -> Result<Vec<Moved>, TransferError> {
        let mut reader = begin(input)?;
        let held = self.held()?;
        let moved = self.store.write(|tables| {
            let mut importing = Importing { transfer: self, held: &held, fresh: 0, replace, tables };
            let mut moved: Vec<Moved> = Vec::new();
            while let Some(section) = reader.tenant()? {
                if moved.iter().any(|before| before.tenant == section.name) {
                    return Err(reader.damaged(Damage::Line).into());
                }
                let wanted = wanted(&section.name);
                moved.push(importing.tenant(section, &mut reader, wanted)?);
            }
            match named.iter().find(|name| !moved.iter().any(|moved| moved.tenant == **name)) {
                Some(name) => Err(FileError::NotExported { tenant: name.clone() }.into()),
                None => Ok(moved),
            }
        });
        moved.map_err(|error| self.unwritten(error))
    }

    /// Errors of a storage that was to be read.
    fn unread(&self, error: TransferError) -> TransferError {
        match error {
            TransferError::Storage(error) => self.files.explain(error).into(),
            error => error,
        }
    }

    /// Errors of a storage that was to be written.
    fn unwritten(&self, error: TransferError) -> TransferError {
        match error {
            TransferError::Storage(error) => {
                TransferError::Write { path: self.files.path().to_owned(), detail: error.to_string() }
            }
            error => error,
        }
    }

    fn held(&self) -> Result<BTreeMap<String, Held>, TransferError> {
        let read = || {
            let stored = self.store.tenants()?;
            stored.into_iter().map(|(name, bytes)| Ok((name, Held::read(bytes)?))).collect::<Result<_, StoreError>>()
        };
        read().map_err(|error| self.files.explain(error).into())
    }

    fn no_tenant(&self, name: &str, held: &BTreeMap<String, Held>) -> TransferError {
        let there = held.iter().filter(|(_, held)| held.state.moved.is_none()).map(|(name, _)| name.clone());
        TransferError::NoTenant { path: self.files.path().to_owned(), tenant: name.to_owned(), held: there.collect() }
    }
}

/// Reads an export to its end, and tells whether it is whole.
pub fn verify(input: impl BufRead) -> Result<(), FileError> {
    let mut reader = begin(input)?;
    while reader.tenant()?.is_some() {
        let mut rows = 0;
        while let InSection::Row(_) = reader.in_section(rows)? {
            rows += 1;
        }
    }
    Ok(())
}

/// Reads the head of an export of this release or an earlier one.
fn begin<R: BufRead>(input: R) -> Result<Reader<R>, FileError> {
    let mut reader = Reader::new(input);
    let head = reader.head()?;
    let versions = [("format version", head.version, VERSION), ("schema version", head.schema, SCHEMA_VERSION)];
    match versions.into_iter().find(|(_, found, supported)| found > supported) {
        Some((what, found, supported)) => Err(FileError::Newer { what, found, supported, exporter: head.exporter }),
        None => Ok(reader),
    }
}

/// A tenant's state in a ledger.
struct Held {
    state: TenantState,
    /// As it is stored.
    bytes: Vec<u8>,
}

impl Held {
    fn read(bytes: Vec<u8>) -> Result<Self, StoreError> {
        Ok(Self { state: TenantState::read(&bytes, &Settings::of_nobody(), DateTime::UNIX_EPOCH)?, bytes })
    }

    fn standing(&self) -> Standing {
        Standing { counted: self.state.totals.counted(), last_success: self.state.last_success }
    }
}

/// Writes one tenant's section; its hash and how many rows it has.
fn section(store: &Store, name: &str, held: &Held, writer: &mut Writer<'_>) -> Result<(String, u64), TransferError> {
    let mut state: Value = serde_json::from_slice(&held.bytes).map_err(corrupt)?;
    if let Some(keys) = state.as_object_mut() {
        keys.remove(NUMBER);
        keys.remove(SALT);
    }
    let salt: Salt = held.state.salt.as_ref().unwrap_or(store.salt()).clone();
    writer.tenant(Section { name: name.to_owned(), salt, state }).map_err(FileError::Write)?;
    let mut rows = 0;
    store.each_row(held.state.number, |row| {
        rows += 1;
        writer.row(&row).map_err(|error| TransferError::from(FileError::Write(error)))
    })?;
    Ok((writer.tenant_end(rows).map_err(FileError::Write)?, rows))
}

/// The keys of a state that are the ledger's own.
const NUMBER: &str = "number";
const SALT: &str = "salt";

fn corrupt(error: serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("the state of a tenant: {error}"))
}

/// An import under way.
struct Importing<'a, 't> {
    transfer: &'a Transfer,
    held: &'a BTreeMap<String, Held>,
    /// How many tenants were added.
    fresh: usize,
    replace: bool,
    tables: &'a mut Tables<'t>,
}

impl Importing<'_, '_> {
    fn tenant<R: BufRead>(
        &mut self,
        section: Section,
        reader: &mut Reader<R>,
        wanted: bool,
    ) -> Result<Moved, TransferError> {
        let held = self.held.get(&section.name);
        let there = held.filter(|held| held.state.moved.is_none());
        let outcome = match there {
            _ if !wanted => Outcome::Skipped,
            Some(_) if self.replace => Outcome::Replaced,
            Some(_) => Outcome::Unchanged,
            None => Outcome::Imported,
        };
        let number = match held {
            Some(held) => held.state.number,
            None => number(self.held.len() + self.fresh)?,
        };
        let coming = self.state(&section, number).map_err(|_| reader.damaged(Damage::Line))?;
        let writes = matches!(outcome, Outcome::Imported | Outcome::Replaced);
        if writes {
            self.fresh += usize::from(held.is_none());
            self.tables.clear(number)?;
            self.tables.set_tenant(&section.name, &coming.bytes)?;
        }
        let (mut rows, mut last) = (0, None);
        let hash = loop {
            match reader.in_section(rows)? {
                InSection::End(hash) => break hash,
                InSection::Row(row) if last < Some(row) => {
                    if writes {
                        self.tables.put(number, &row)?;
                    }
                    (rows, last) = (rows + 1, Some(row));
                }
                InSection::Row(_) => return Err(reader.damaged(Damage::Line).into()),
            }
        };
        if let (Outcome::Unchanged, Some(there)) = (outcome, there) {
            let (own, _) =
                self::section(&self.transfer.store, &section.name, there, &mut Writer::new(&mut io::sink()))?;
            if own != hash {
                let path = self.transfer.files.path().to_owned();
                let (held, exported) = (there.standing(), coming.standing());
                return Err(TransferError::Conflict { path, tenant: section.name, held, exported });
            }
        }
        Ok(Moved { tenant: section.name, counted: coming.standing().counted, rows, outcome })
    }

    /// The state as this ledger stores it.
    fn state(&self, section: &Section, number: u32) -> Result<Held, StoreError> {
        let mut state = section.state.clone();
        let keys = state.as_object_mut().ok_or_else(|| StoreError::Corrupt("a state is an object".to_owned()))?;
        keys.insert(NUMBER.to_owned(), number.into());
        if !self.transfer.store.has_salt(&section.salt) {
            keys.insert(SALT.to_owned(), serde_json::to_value(&section.salt).map_err(corrupt)?);
        }
        let bytes = serde_json::to_vec(&state).map_err(corrupt)?;
        let read = Held::read(bytes)?;
        if read.state.moved.is_some() {
            return Err(StoreError::Corrupt("a tenant that went is no export".to_owned()));
        }
        Ok(read)
    }
}
