//! The journal as one redb file: ACID, one writer, fsync at every commit. The only file naming `redb`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use redb::{Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::error::{Error, StoreError};
use crate::journal::{Shelf, Store};

/// A journal in `journal.redb` of a folder. Only one process can have it open.
pub struct RedbStore(Database);

impl RedbStore {
    /// Opens the journal of a folder, making both if they are not there.
    pub async fn open(folder: &Path) -> Result<Self, Error> {
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || Self::open_now(&folder))
            .await
            .map_err(|_| Error::Bug("the journal's thread stopped"))?
    }

    fn open_now(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        let path = folder.join("journal.redb");
        let database = Database::create(&path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.clone()),
            other => io(other),
        })?;
        // It holds signatures that have not left yet.
        let owner_only = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, owner_only).map_err(|error| Error::file(&path, error))?;
        let write = database.begin_write().map_err(io)?;
        for shelf in Shelf::ALL {
            write.open_table(table(shelf)).map_err(io)?;
        }
        write.commit().map_err(io)?;
        Ok(Self(database))
    }
}

impl Store for RedbStore {
    fn put(&self, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut write = self.0.begin_write().map_err(io)?;
        write.set_durability(Durability::Immediate).map_err(io)?;
        write.open_table(table(shelf)).map_err(io)?.insert(key, value).map_err(io)?;
        write.commit().map_err(io)
    }

    fn get(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.0.begin_read().map_err(io)?;
        let found = read.open_table(table(shelf)).map_err(io)?.get(key).map_err(io)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn all(&self, shelf: Shelf) -> Result<Vec<Vec<u8>>, StoreError> {
        let read = self.0.begin_read().map_err(io)?;
        let table = read.open_table(table(shelf)).map_err(io)?;
        let entries = table.iter().map_err(io)?;
        entries.map(|entry| Ok(entry.map_err(io)?.1.value().to_vec())).collect()
    }
}

const fn table(shelf: Shelf) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match shelf {
        Shelf::Checkpoints => "checkpoints/v1",
        Shelf::Exchanges => "exchanges/v1",
        Shelf::Misbehaviours => "misbehaviours/v1",
        Shelf::Nonces => "nonces/v1",
    })
}

fn io(error: impl std::fmt::Display) -> StoreError {
    StoreError::Io(error.to_string())
}
