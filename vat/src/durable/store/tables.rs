//! The tables of a store.

use std::collections::BTreeSet;

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable, ReadableTableMetadata as _,
    TableDefinition, TableError, WriteTransaction,
};

use super::{Batch, StoreError};
use crate::durable::record;

/// Objects by their numbers.
const OBJECTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("objects");
/// Roots by their names: the numbers of their objects.
const ROOTS: TableDefinition<'_, &str, u64> = TableDefinition::new("roots");
/// What is known of the store itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("vat");

/// The store's own layout. Raised with any change that an older program would misread.
pub(super) const LAYOUT: u64 = 1;
const LAYOUT_KEY: &str = "layout";
/// The next number that no object has had.
const NEXT_KEY: &str = "next";

/// Makes the tables, or sees whether they are those that are known here. Gives the next number.
pub(super) fn prepare(database: &Database) -> Result<u64, StoreError> {
    let read = database.begin_read()?;
    match read.open_table(META) {
        Ok(meta) => {
            let layout = meta.get(LAYOUT_KEY)?.map_or(0, |value| value.value());
            if layout != LAYOUT {
                return Err(StoreError::Layout(layout));
            }
            Ok(meta.get(NEXT_KEY)?.map_or(1, |value| value.value()))
        }
        Err(TableError::TableDoesNotExist(_)) if read.list_tables()?.next().is_none() => {
            create(database)?;
            Ok(1)
        }
        Err(TableError::TableDoesNotExist(_)) => Err(StoreError::NotAStore),
        Err(error) => Err(error.into()),
    }
}

fn create(database: &Database) -> Result<(), StoreError> {
    let write = database.begin_write()?;
    {
        write.open_table(OBJECTS)?;
        write.open_table(ROOTS)?;
        let mut meta = write.open_table(META)?;
        meta.insert(LAYOUT_KEY, LAYOUT)?;
        meta.insert(NEXT_KEY, 1)?;
    }
    write.commit()?;
    Ok(())
}

/// Writes one batch as one transaction.
pub(super) fn commit(database: &Database, batch: &Batch) -> Result<(), StoreError> {
    let write = database.begin_write()?;
    fill(&write, batch)?;
    write.commit()?;
    Ok(())
}

fn fill(write: &WriteTransaction, batch: &Batch) -> Result<(), StoreError> {
    let mut objects = write.open_table(OBJECTS)?;
    for (id, record) in &batch.objects {
        objects.insert(id, record.as_slice())?;
    }
    if !batch.roots.is_empty() || !batch.gone_roots.is_empty() {
        let mut roots = write.open_table(ROOTS)?;
        for name in &batch.gone_roots {
            roots.remove(name.as_str())?;
        }
        for (name, id) in &batch.roots {
            roots.insert(name.as_str(), id)?;
        }
    }
    let mut meta = write.open_table(META)?;
    if meta
        .get(NEXT_KEY)?
        .is_none_or(|next| next.value() != batch.next)
    {
        meta.insert(NEXT_KEY, batch.next)?;
    }
    Ok(())
}

/// What a store holds at one moment.
pub(in crate::durable) struct Reader(ReadTransaction);

impl Reader {
    pub(super) fn new(database: &Database) -> Result<Self, StoreError> {
        Ok(Self(database.begin_read()?))
    }

    /// The record of an object.
    pub(in crate::durable) fn object(&self, id: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let objects = self.0.open_table(OBJECTS)?;
        Ok(objects.get(id)?.map(|record| record.value().to_vec()))
    }

    /// The number of a root's object.
    pub(in crate::durable) fn root(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let roots = self.0.open_table(ROOTS)?;
        Ok(roots.get(name)?.map(|id| id.value()))
    }

    /// All roots, by name.
    pub(in crate::durable) fn roots(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let roots = self.0.open_table(ROOTS)?;
        let mut all = Vec::new();
        for root in roots.iter()? {
            let (name, id) = root?;
            all.push((name.value().to_owned(), id.value()));
        }
        Ok(all)
    }

    /// Every object, by number.
    pub(in crate::durable) fn each(
        &self,
        mut each: impl FnMut(u64, &[u8]),
    ) -> Result<(), StoreError> {
        let objects = self.0.open_table(OBJECTS)?;
        for object in objects.iter()? {
            let (id, record) = object?;
            each(id.value(), record.value());
        }
        Ok(())
    }
}

/// Removes the objects that no root leads to; says how many it were.
pub(super) fn sweep(database: &Database) -> Result<u64, StoreError> {
    let read = database.begin_read()?;
    let objects = read.open_table(OBJECTS)?;
    let mut reached = BTreeSet::new();
    let mut todo: Vec<u64> = Vec::new();
    for root in read.open_table(ROOTS)?.iter()? {
        todo.push(root?.1.value());
    }
    while let Some(id) = todo.pop() {
        if !reached.insert(id) {
            continue;
        }
        if let Some(found) = objects.get(id)? {
            let header = record::read(found.value());
            let (header, _) = header.map_err(|error| StoreError::Object(id, error.to_string()))?;
            todo.extend(header.refs);
        }
    }
    if objects.len()? == reached.len() as u64 {
        return Ok(0);
    }
    let mut lost = Vec::new();
    for object in objects.iter()? {
        let id = object?.0.value();
        if !reached.contains(&id) {
            lost.push(id);
        }
    }
    drop((objects, read));
    let write = database.begin_write()?;
    {
        let mut objects = write.open_table(OBJECTS)?;
        for id in &lost {
            objects.remove(id)?;
        }
    }
    write.commit()?;
    Ok(lost.len() as u64)
}
