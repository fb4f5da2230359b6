//! All connections of an engine: rows that are used again, found by ids with a generation.

use super::Connection;
use crate::{ConnId, Host};

/// All connections.
pub(crate) struct Connections<H: Host> {
    rows: Vec<Row<H>>,
    free: Vec<u32>,
}

struct Row<H: Host> {
    generation: u32,
    connection: Option<Box<Connection<H>>>,
}

impl<H: Host> Connections<H> {
    pub(crate) const fn new() -> Self {
        Self {
            rows: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, connection: Connection<H>) -> ConnId {
        let connection = Some(Box::new(connection));
        if let Some(index) = self.free.pop()
            && let Some(row) = self.rows.get_mut(index as usize)
        {
            row.connection = connection;
            return ConnId::new(index, row.generation);
        }
        let index = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(Row {
            generation: 1,
            connection,
        });
        ConnId::new(index, 1)
    }

    /// The connection, also a closed one with bytes left.
    pub(crate) fn any(&mut self, id: ConnId) -> Option<&mut Connection<H>> {
        let row = self.rows.get_mut(id.index())?;
        if row.generation == id.generation() {
            row.connection.as_deref_mut()
        } else {
            None
        }
    }

    /// The same.
    pub(crate) fn any_ref(&self, id: ConnId) -> Option<&Connection<H>> {
        let row = self.rows.get(id.index())?;
        let connection = row.connection.as_deref()?;
        (row.generation == id.generation()).then_some(connection)
    }

    /// The connection, if it is open.
    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection<H>> {
        self.any_ref(id).filter(|connection| !connection.closed)
    }

    /// The connection, if it is open.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection<H>> {
        self.any(id).filter(|connection| !connection.closed)
    }

    pub(crate) fn remove(&mut self, id: ConnId) {
        if let Some(row) = self.rows.get_mut(id.index())
            && row.generation == id.generation()
            && row.connection.take().is_some()
        {
            row.generation = row.generation.wrapping_add(1);
            self.free
                .push(u32::try_from(id.index()).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &Connection<H>)> {
        (0u32..).zip(&self.rows).filter_map(|(index, row)| {
            let connection = row.connection.as_deref()?;
            Some((ConnId::new(index, row.generation), connection))
        })
    }
}
