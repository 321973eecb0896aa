//! Rows of one tenant as they are stored, for taking them to another ledger.
//!
//! A row's key is told without the tenant's number, which is the ledger's own.

use std::ops::RangeInclusive;

use redb::{ReadableDatabase, Table, TableDefinition};

use super::{
    HISTORY, HistoryKey, KNOWN, KnownKey, META, META_SCHEMA, SCHEMA_VERSION, SESSIONS, SessionKey, Store, StoreError,
    Tables,
};
use crate::ledger::record::{HISTORY_BYTES, RECORD_BYTES, SessionRecord};
use crate::ledger::salt::Salt;

/// One row: its table, its key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Of `known`.
    Known([u8; 16], [u8; 16]),
    /// Of `sessions`.
    Session([u8; 24], [u8; RECORD_BYTES]),
    /// Of `history`.
    History([u8; 16], [u8; HISTORY_BYTES]),
}

impl Row {
    /// Whether the record in it is one of this schema version's.
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Known(..) => true,
            Self::Session(_, record) => SessionRecord::decode(record).is_some(),
            Self::History(_, record) => SessionRecord::decode_history(0, record).is_some(),
        }
    }
}

impl Store {
    /// Shows every row of a tenant: by table, and there by key.
    pub fn each_row<E: From<StoreError>>(
        &self,
        tenant: u32,
        mut show: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        self.rows_of(KNOWN, known(tenant), |key, value| show(Row::Known(rest(key), *value)))?;
        self.rows_of(SESSIONS, session(tenant), |key, value| show(Row::Session(rest(key), *value)))?;
        self.rows_of(HISTORY, history(tenant), |key, value| show(Row::History(rest(key), *value)))
    }

    fn rows_of<const K: usize, const V: usize, E: From<StoreError>>(
        &self,
        table: TableDefinition<'_, &'static [u8; K], &'static [u8; V]>,
        range: RangeInclusive<[u8; K]>,
        mut show: impl FnMut(&[u8; K], &[u8; V]) -> Result<(), E>,
    ) -> Result<(), E> {
        let open = || {
            let transaction = self.database.begin_read()?;
            Ok::<_, StoreError>(transaction.open_table(table)?)
        };
        let table = open()?;
        for row in table.range::<&[u8; K]>(range.start()..=range.end()).map_err(StoreError::from)? {
            let (key, value) = row.map_err(StoreError::from)?;
            show(key.value(), value.value())?;
        }
        Ok(())
    }

    /// Whether the salt of another ledger is this one's.
    pub fn has_salt(&self, salt: &Salt) -> bool {
        self.salt.bytes() == salt.bytes()
    }
}

impl Tables<'_> {
    /// Writes a row of a tenant.
    pub fn put(&mut self, tenant: u32, row: &Row) -> Result<(), StoreError> {
        match row {
            Row::Known(key, value) => drop(self.known.insert(&whole::<16, 20>(tenant, key), value)?),
            Row::Session(key, value) => drop(self.sessions.insert(&whole::<24, 28>(tenant, key), value)?),
            Row::History(key, value) => drop(self.history.insert(&whole::<16, 20>(tenant, key), value)?),
        }
        Ok(())
    }

    /// Takes every row of a tenant away, as it goes or comes: the ledger is of schema version 3 from then on.
    pub fn clear(&mut self, tenant: u32) -> Result<(), StoreError> {
        let mut meta = self.transaction.open_table(META)?;
        meta.insert(META_SCHEMA, SCHEMA_VERSION.to_le_bytes().as_slice())?;
        clear(&mut self.known, known(tenant))?;
        clear(&mut self.sessions, session(tenant))?;
        clear(&mut self.history, history(tenant))
    }
}

fn clear<const K: usize, const V: usize>(
    table: &mut Table<'_, &'static [u8; K], &'static [u8; V]>,
    range: RangeInclusive<[u8; K]>,
) -> Result<(), StoreError> {
    table.retain_in::<&[u8; K], _>(range.start()..=range.end(), |_, _| false)?;
    Ok(())
}

fn known(tenant: u32) -> RangeInclusive<KnownKey> {
    whole(tenant, &[0; 16])..=whole(tenant, &[0xff; 16])
}

fn session(tenant: u32) -> RangeInclusive<SessionKey> {
    whole(tenant, &[0; 24])..=whole(tenant, &[0xff; 24])
}

fn history(tenant: u32) -> RangeInclusive<HistoryKey> {
    whole(tenant, &[0; 16])..=whole(tenant, &[0xff; 16])
}

/// A key with the tenant's number.
fn whole<const R: usize, const K: usize>(tenant: u32, rest: &[u8; R]) -> [u8; K] {
    let mut key = [0; K];
    key[..4].copy_from_slice(&tenant.to_be_bytes());
    key[4..].copy_from_slice(rest);
    key
}

/// A key without it.
fn rest<const K: usize, const R: usize>(key: &[u8; K]) -> [u8; R] {
    std::array::from_fn(|i| key[4 + i])
}
