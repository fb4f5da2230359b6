//! The two sorts of tables: with ids that we choose and with ids that the peer chooses.

use std::collections::BTreeMap;

/// A table whose ids we choose: small numbers, the last freed one first.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(id as usize)
        {
            *slot = Some(value);
            return id;
        }
        let id = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Some(value));
        id
    }

    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.slots.get(id as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<T> {
        let value = self.slots.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(value)
    }

    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..)
            .zip(&self.slots)
            .filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (u32, T)> + use<T> {
        self.free.clear();
        let slots = std::mem::take(&mut self.slots);
        (0u32..)
            .zip(slots)
            .filter_map(|(id, slot)| Some((id, slot?)))
    }
}

/// A table whose ids the peer chooses. Well-behaved peers choose small numbers, which are looked up
/// by index; any others cost a search, and never more memory than there are entries.
#[derive(Debug)]
pub(crate) struct PeerTable<T> {
    dense: Vec<Option<T>>,
    sparse: BTreeMap<u32, T>,
    len: usize,
}

impl<T> Default for PeerTable<T> {
    fn default() -> Self {
        Self {
            dense: Vec::new(),
            sparse: BTreeMap::new(),
            len: 0,
        }
    }
}

/// Ids below this always get an indexed place.
const FIRST_IDS: usize = 16;

impl<T> PeerTable<T> {
    /// Adds an entry; the id must be free.
    pub(crate) fn insert(&mut self, id: u32, value: T) {
        let index = id as usize;
        // An index table at most a few times larger than what it holds.
        if index >= self.dense.len() && index < FIRST_IDS + 4 * self.len {
            self.dense
                .resize_with((index + 1).next_power_of_two(), || None);
        }
        self.len += 1;
        match self.dense.get_mut(index) {
            Some(slot) => *slot = Some(value),
            None => {
                self.sparse.insert(id, value);
            }
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        match self.dense.get(id as usize) {
            Some(Some(value)) => Some(value),
            _ => self.sparse.get(&id),
        }
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        match self.dense.get_mut(id as usize) {
            Some(Some(value)) => Some(value),
            _ => self.sparse.get_mut(&id),
        }
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<T> {
        let value = match self.dense.get_mut(id as usize).and_then(Option::take) {
            Some(value) => value,
            None => self.sparse.remove(&id)?,
        };
        self.len -= 1;
        Some(value)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let dense = (0u32..)
            .zip(&self.dense)
            .filter_map(|(id, slot)| Some((id, slot.as_ref()?)));
        dense.chain(self.sparse.iter().map(|(id, value)| (*id, value)))
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (u32, T)> + use<T> {
        let taken = std::mem::take(self);
        let dense = (0u32..)
            .zip(taken.dense)
            .filter_map(|(id, slot)| Some((id, slot?)));
        dense.chain(taken.sparse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slab_reuses_the_last_freed_id() {
        let mut slab = Slab::default();
        assert_eq!(
            (slab.insert('a'), slab.insert('b'), slab.insert('c')),
            (0, 1, 2)
        );
        assert_eq!(slab.remove(1), Some('b'));
        assert_eq!(slab.remove(1), None);
        assert_eq!(slab.len(), 2);
        assert_eq!(slab.insert('d'), 1);
        assert_eq!(slab.iter().map(|(_, v)| *v).collect::<String>(), "adc");
    }

    #[test]
    fn ids_of_a_peer_cost_no_more_memory_than_entries() {
        let mut table = PeerTable::default();
        for id in [u32::MAX, 1 << 31, 1_000_000, 3] {
            table.insert(id, id);
        }
        assert!(table.dense.len() <= 64);
        assert_eq!(table.len(), 4);
        for id in [u32::MAX, 1 << 31, 1_000_000, 3] {
            assert_eq!(table.get(id), Some(&id));
            assert_eq!(table.remove(id), Some(id));
            assert_eq!(table.get(id), None);
        }
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn an_entry_stays_found_when_the_index_grows_past_it() {
        let mut table = PeerTable::default();
        table.insert(40, 'x');
        for id in 0..30 {
            table.insert(id, 'y');
        }
        assert_eq!(table.get(40), Some(&'x'));
        assert_eq!(table.remove(40), Some('x'));
        assert_eq!(table.len(), 30);
    }
}
