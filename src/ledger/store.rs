//! The ledger's file: its tables, their keys, and the one way to write them.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | schema version, salt |
//! | `tenants` | configured name | [`super::state::TenantState`] as JSON: totals, start times, horizon |
//! | `known` | tenant, hash of the id | how long to keep the id, fingerprint of its report |
//! | `sessions` | tenant, how long to keep it, hash of the id | [`SessionRecord`] |
//! | `history` | tenant, end, half the hash of the id | what a session counted as, without its hashes |
//!
//! `sessions` and `history` are in order of time: new sessions land beside each other and old ones
//! leave from the front, from `sessions` to `history` and from there for good. Every write goes
//! through [`Store::write`]: one transaction, durable when it returns.
//!
//! Schema version 2 brought `history`. A ledger of version 1 gets it, empty, when it is opened. Version 3
//! has tenants that came from another ledger with its salt, or went to one; see [`moving`]. A ledger is of
//! version 2 until the first of them, so that an earlier release goes on reading it.

pub mod moving;

use std::ops::Bound;
use std::path::Path;

use chrono::{DateTime, Utc};
use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction,
};

use super::counting::Known;
use super::record::{HISTORY_BYTES, RECORD_BYTES, SessionRecord};
use super::salt::{IdHash, SALT_BYTES, Salt};

/// The version of everything that is written here. A file of a later version is refused.
pub const SCHEMA_VERSION: u32 = 3;
/// The version in which no tenant came or went; what a new ledger is.
const UNMOVED: u32 = 2;
/// The version without `history`.
const WITHOUT_HISTORY: u32 = 1;

/// Pages of the file kept in memory. The ids of a busy tenant's window fit; a million sessions in
/// the ledger do not make the process large.
pub const CACHE_BYTES: usize = 24 << 20;

type KnownKey = [u8; 20];
type SessionKey = [u8; 28];
type HistoryKey = [u8; 20];

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const TENANTS: TableDefinition<&str, &[u8]> = TableDefinition::new("tenants");
const KNOWN: TableDefinition<&KnownKey, &[u8; 16]> = TableDefinition::new("known");
const SESSIONS: TableDefinition<&SessionKey, &[u8; RECORD_BYTES]> = TableDefinition::new("sessions");
const HISTORY: TableDefinition<&HistoryKey, &[u8; HISTORY_BYTES]> = TableDefinition::new("history");

const META_SCHEMA: &str = "schema_version";
const META_SALT: &str = "salt";

/// An open ledger file.
pub struct Store {
    database: Database,
    salt: Salt,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file says that a later release wrote it.
    #[error("schema version {0}")]
    Newer(u32),
    /// What is in it makes no sense.
    #[error("{0}")]
    Corrupt(String),
    /// A tenant whose counts went to another ledger.
    #[error(
        "tenant {tenant} was taken out of this ledger at {} and is counted elsewhere; import its export here, or give \
         the tenant to the shard that has it",
        at.format("%Y-%m-%d %H:%M:%S UTC")
    )]
    Moved {
        /// Its name.
        tenant: String,
        /// When it went.
        at: DateTime<Utc>,
    },
    /// The storage said no.
    #[error(transparent)]
    Storage(#[from] redb::Error),
}

macro_rules! from_redb {
    ($($error:ident),+) => {
        $(impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Storage(error.into())
            }
        })+
    };
}
from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

/// The tables of one write transaction.
pub struct Tables<'t> {
    transaction: &'t WriteTransaction,
    tenants: Table<'t, &'static str, &'static [u8]>,
    known: Table<'t, &'static KnownKey, &'static [u8; 16]>,
    sessions: Table<'t, &'static SessionKey, &'static [u8; RECORD_BYTES]>,
    history: Table<'t, &'static HistoryKey, &'static [u8; HISTORY_BYTES]>,
}

impl Store {
    /// Refuses a file of a later release before anything may write to it: opening a database to
    /// write puts redb's own books in order.
    pub fn refuse_newer(path: &Path) -> Result<(), StoreError> {
        // What else may be wrong with the file, the opening that follows will tell.
        let Ok(database) = Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path) else { return Ok(()) };
        match read_meta(&database) {
            Err(newer @ StoreError::Newer(_)) => Err(newer),
            _ => Ok(()),
        }
    }

    /// Takes a ledger's database in. One of an earlier version becomes one of this version.
    pub fn open(database: Database) -> Result<Self, StoreError> {
        let (version, salt) = read_meta(&database)?;
        if version < UNMOVED {
            migrate(&database)?;
        }
        Ok(Self { database, salt })
    }

    /// The keys of this ledger's hashes.
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// Every tenant's stored state, by name.
    pub fn tenants(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(TENANTS)?;
        let mut tenants = Vec::new();
        for row in table.iter()? {
            let (name, state) = row?;
            tenants.push((name.value().to_owned(), state.value().to_vec()));
        }
        Ok(tenants)
    }

    /// How many sessions are known.
    pub fn len(&self) -> Result<u64, StoreError> {
        Ok(self.database.begin_read()?.open_table(KNOWN)?.len()?)
    }

    /// Shows every record of a tenant that is kept until `from` (ticks) or longer, oldest first.
    pub fn each_session(&self, tenant: u32, from: i64, mut show: impl FnMut(SessionRecord)) -> Result<(), StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(SESSIONS)?;
        let (first, last) = (session_key(tenant, from, &[0; 16]), session_key(tenant, i64::MAX, &[0xff; 16]));
        for row in table.range::<&SessionKey>((Bound::Included(&first), Bound::Included(&last)))? {
            let (_, value) = row?;
            show(SessionRecord::decode(value.value()).ok_or_else(unknown_code)?);
        }
        Ok(())
    }

    /// Shows every session of a tenant that left `sessions`, by its end. Their hashes are gone.
    pub fn each_of_history(&self, tenant: u32, mut show: impl FnMut(SessionRecord)) -> Result<(), StoreError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(HISTORY)?;
        let (first, last) = (history_key(tenant, i64::MIN, &[0; 16]), history_key(tenant, i64::MAX, &[0xff; 16]));
        for row in table.range::<&HistoryKey>((Bound::Included(&first), Bound::Included(&last)))? {
            let (key, value) = row?;
            let key = key.value();
            let end = time_of(std::array::from_fn(|i| key[4 + i]));
            show(SessionRecord::decode_history(end, value.value()).ok_or_else(unknown_code)?);
        }
        Ok(())
    }

    /// Runs `work` in one transaction and commits it durably. If either fails, nothing is written.
    pub fn write<T, E: From<StoreError>>(&self, work: impl FnOnce(&mut Tables<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut transaction = self.database.begin_write().map_err(StoreError::from)?;
        // Reopening after a crash must not read the whole file.
        transaction.set_quick_repair(true);
        let result = work(&mut Tables::open(&transaction)?)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(result)
    }
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            transaction,
            tenants: transaction.open_table(TENANTS)?,
            known: transaction.open_table(KNOWN)?,
            sessions: transaction.open_table(SESSIONS)?,
            history: transaction.open_table(HISTORY)?,
        })
    }

    /// Writes a tenant's state.
    pub fn set_tenant(&mut self, name: &str, state: &[u8]) -> Result<(), StoreError> {
        self.tenants.insert(name, state)?;
        Ok(())
    }

    /// What is known of an id.
    pub fn known(&self, tenant: u32, id: &IdHash) -> Result<Option<Known>, StoreError> {
        Ok(self.known.get(&known_key(tenant, id))?.map(|value| decode_known(value.value())))
    }

    /// Remembers a new session.
    pub fn insert(
        &mut self,
        tenant: u32,
        id: &IdHash,
        fingerprint: u64,
        session: &SessionRecord,
    ) -> Result<(), StoreError> {
        let known = Known { retained_until: session.end, fingerprint };
        self.known.insert(&known_key(tenant, id), &encode_known(known))?;
        self.sessions.insert(&session_key(tenant, session.end, id), &session.encode())?;
        Ok(())
    }

    /// Remembers how a known session reads now. Its record stays as it was counted.
    pub fn amend(&mut self, tenant: u32, id: &IdHash, before: Known, now: Known) -> Result<(), StoreError> {
        self.known.insert(&known_key(tenant, id), &encode_known(now))?;
        if before.retained_until != now.retained_until {
            let old = self.sessions.remove(&session_key(tenant, before.retained_until, id))?;
            let record = old.map(|record| *record.value());
            if let Some(record) = record {
                self.sessions.insert(&session_key(tenant, now.retained_until, id), &record)?;
            }
        }
        Ok(())
    }

    /// Forgets the ids of up to `most` sessions that need be kept no longer than before `horizon`
    /// (ticks). What they counted as is kept if they ended at `history` (ticks) or later.
    pub fn prune(&mut self, tenant: u32, horizon: i64, history: i64, most: usize) -> Result<(), StoreError> {
        let (first, end) = (session_key(tenant, i64::MIN, &[0; 16]), session_key(tenant, horizon, &[0; 16]));
        let old: Vec<SessionKey> = self
            .sessions
            .range::<&SessionKey>((Bound::Included(&first), Bound::Excluded(&end)))?
            .take(most)
            .map(|row| row.map(|(key, _)| *key.value()))
            .collect::<Result<_, _>>()?;
        for key in old {
            let id: IdHash = std::array::from_fn(|i| key[12 + i]);
            let record = self.sessions.remove(&key)?.and_then(|record| SessionRecord::decode(record.value()));
            if let Some(record) = record.filter(|record| !record.baseline && record.end >= history) {
                self.history.insert(&history_key(tenant, record.end, &id), &record.encode_history())?;
            }
            self.known.remove(&known_key(tenant, &id))?;
        }
        self.prune_history(tenant, history, most)
    }

    fn prune_history(&mut self, tenant: u32, history: i64, most: usize) -> Result<(), StoreError> {
        let (first, end) = (history_key(tenant, i64::MIN, &[0; 16]), history_key(tenant, history, &[0; 16]));
        let old: Vec<HistoryKey> = self
            .history
            .range::<&HistoryKey>((Bound::Included(&first), Bound::Excluded(&end)))?
            .take(most)
            .map(|row| row.map(|(key, _)| *key.value()))
            .collect::<Result<_, _>>()?;
        for key in old {
            self.history.remove(&key)?;
        }
        Ok(())
    }
}

fn unknown_code() -> StoreError {
    StoreError::Corrupt("a session record has an unknown code".into())
}

/// Checks that a database is a ledger of this version or an earlier one; its version and its salt.
fn read_meta(database: &impl ReadableDatabase) -> Result<(u32, Salt), StoreError> {
    let meta = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => {
            return Err(StoreError::Corrupt("a database, but not a ledger".into()));
        }
        Err(error) => return Err(error.into()),
    };
    let version = meta.get(META_SCHEMA)?.and_then(|value| Some(u32::from_le_bytes(value.value().try_into().ok()?)));
    let version = match version {
        Some(version @ WITHOUT_HISTORY..=SCHEMA_VERSION) => version,
        Some(newer) if newer > SCHEMA_VERSION => return Err(StoreError::Newer(newer)),
        _ => return Err(StoreError::Corrupt("it has no schema version".into())),
    };
    let salt: Option<[u8; SALT_BYTES]> = meta.get(META_SALT)?.and_then(|value| value.value().try_into().ok());
    let salt = salt.ok_or_else(|| StoreError::Corrupt("it has no salt".into()))?;
    Ok((version, Salt::from_bytes(salt)))
}

/// From version 1, in one transaction. What it forgot so far has no place in its history.
fn migrate(database: &Database) -> Result<(), StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    transaction.open_table(META)?.insert(META_SCHEMA, UNMOVED.to_le_bytes().as_slice())?;
    transaction.open_table(HISTORY)?;
    transaction.commit()?;
    Ok(())
}

/// Makes an empty database a ledger, with a salt of its own.
pub fn lay(database: &Database) -> Result<(), StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_SCHEMA, UNMOVED.to_le_bytes().as_slice())?;
        meta.insert(META_SALT, Salt::random().bytes().as_slice())?;
    }
    transaction.open_table(TENANTS)?;
    transaction.open_table(KNOWN)?;
    transaction.open_table(SESSIONS)?;
    transaction.open_table(HISTORY)?;
    transaction.commit()?;
    Ok(())
}

fn known_key(tenant: u32, id: &IdHash) -> KnownKey {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&tenant.to_be_bytes());
    key[4..].copy_from_slice(id);
    key
}

fn session_key(tenant: u32, retained_until: i64, id: &IdHash) -> SessionKey {
    let mut key = [0; 28];
    key[..4].copy_from_slice(&tenant.to_be_bytes());
    key[4..12].copy_from_slice(&in_order(retained_until));
    key[12..].copy_from_slice(id);
    key
}

/// Half the hash of the id is enough: it tells apart what ended within the same 100 ns.
fn history_key(tenant: u32, end: i64, id: &IdHash) -> HistoryKey {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&tenant.to_be_bytes());
    key[4..12].copy_from_slice(&in_order(end));
    key[12..].copy_from_slice(&id[..8]);
    key
}

/// With the sign bit flipped, unsigned big-endian order is the order of time.
fn in_order(ticks: i64) -> [u8; 8] {
    (ticks as u64 ^ (1 << 63)).to_be_bytes()
}

fn time_of(in_order: [u8; 8]) -> i64 {
    (u64::from_be_bytes(in_order) ^ (1 << 63)) as i64
}

fn encode_known(known: Known) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&known.retained_until.to_le_bytes());
    value[8..].copy_from_slice(&known.fingerprint.to_le_bytes());
    value
}

fn decode_known(value: &[u8; 16]) -> Known {
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| value[at + i]));
    Known { retained_until: number(0) as i64, fingerprint: number(8) }
}
