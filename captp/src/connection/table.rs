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

    /// Drops an entry where it is: cheaper than taking it out.
    pub(crate) fn forget(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize)
            && slot.is_some()
        {
            *slot = None;
            self.free.push(id);
        }
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
/// by index; any others cost a search. Memory goes with the number of entries, and for the small
/// numbers a few bytes each.
#[derive(Debug)]
pub(crate) struct PeerTable<T> {
    /// Where the entry of each small id is: a place in `slots` plus one, or 0.
    index: Vec<u32>,
    slots: Slab<T>,
    sparse: BTreeMap<u32, T>,
}

impl<T> Default for PeerTable<T> {
    fn default() -> Self {
        Self {
            index: Vec::new(),
            slots: Slab::default(),
            sparse: BTreeMap::new(),
        }
    }
}

/// Ids below this always get an indexed place: 16 KiB at most.
const FIRST_IDS: usize = 4096;

impl<T> PeerTable<T> {
    /// Adds an entry; the id must be free.
    pub(crate) fn insert(&mut self, id: u32, value: T) {
        let at = id as usize;
        // Beyond, an index at most a few times larger than what it holds.
        if at >= self.index.len() && at < FIRST_IDS + 4 * self.len() {
            self.index.resize((at + 1).next_power_of_two(), 0);
        }
        match self.index.get_mut(at) {
            Some(place) => *place = self.slots.insert(value).saturating_add(1),
            None => {
                self.sparse.insert(id, value);
            }
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        match self.index.get(id as usize) {
            Some(place) if *place > 0 => self.slots.get(*place - 1),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&id),
        }
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        match self.index.get(id as usize) {
            Some(place) if *place > 0 => self.slots.get_mut(*place - 1),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get_mut(&id),
        }
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<T> {
        match self.index.get_mut(id as usize) {
            Some(place) if *place > 0 => {
                let slot = std::mem::take(place);
                self.slots.remove(slot - 1)
            }
            _ => self.sparse.remove(&id),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() + self.sparse.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let small = (0u32..).zip(&self.index).filter_map(|(id, place)| {
            let slot = place.checked_sub(1)?;
            Some((id, self.slots.get(slot)?))
        });
        small.chain(self.sparse.iter().map(|(id, value)| (*id, value)))
    }

    /// Takes everything out, in the order of the ids but for those that are searched for.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (u32, T)> + use<T> {
        let taken = std::mem::take(self);
        let mut slots = taken.slots;
        let small = (0u32..).zip(taken.index).filter_map(move |(id, place)| {
            let slot = place.checked_sub(1)?;
            Some((id, slots.remove(slot)?))
        });
        small.chain(taken.sparse)
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
        assert!(table.index.len() <= 64);
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
        table.insert(4_100, 'x');
        assert!(table.index.is_empty());
        for id in 0..4_000 {
            table.insert(id, 'y');
        }
        table.insert(5_000, 'z');
        assert!(table.index.len() > 4_100);
        assert_eq!(table.get(4_100), Some(&'x'));
        assert_eq!(table.remove(4_100), Some('x'));
        assert_eq!(table.remove(5_000), Some('z'));
        assert_eq!(table.len(), 4_000);
    }
}
