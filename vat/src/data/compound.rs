//! Values behind pointers: texts, lists, maps, options; and `Box`, which is as what it holds.

use std::collections::BTreeMap;

use super::layout::{Layout, Member, Solved, solve};
use super::{Bytes, Data, Element, Fault, Kind, Reader, Result, Size, Writer};
use crate::core::{NoFields, Promise, Ref};
use crate::schema::{FieldShape, Registry, Type};

impl Data for String {
    type Promised = Promise<Self>;
    type Fields = NoFields;
    const KIND: Kind = Kind::Pointer;
    const ELEMENT: Element = Element::Pointer;

    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        to.text(at, self)
    }

    fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
        Ok(from.text(at)?.to_owned())
    }

    fn describe(_: &mut Registry) -> Type {
        Type::Text
    }

    fn words(&self) -> usize {
        self.len() / 8 + 1
    }
}

/// Bytes that are shared instead of copied; see [`Bytes`].
impl Data for Bytes {
    type Promised = Promise<Self>;
    type Fields = NoFields;
    const KIND: Kind = Kind::Pointer;
    const ELEMENT: Element = Element::Pointer;

    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        to.shared_data(at, self)
    }

    fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
        from.shared_data(at)
    }

    fn describe(_: &mut Registry) -> Type {
        Type::Data
    }

    /// What is sent from where it lies takes no room.
    fn words(&self) -> usize {
        match captp::is_shared(self.len(), self.holds()) {
            true => 0,
            false => self.len().div_ceil(8),
        }
    }
}

/// An absent one reads as zeros; one of another length is an error.
impl<const N: usize> Data for [u8; N] {
    type Promised = Promise<Self>;
    type Fields = NoFields;
    const KIND: Kind = Kind::Pointer;
    const ELEMENT: Element = Element::Pointer;

    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        to.data(at, self)
    }

    fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
        if from.is_null(at) {
            return Ok([0; N]);
        }
        let bytes = from.data(at)?;
        bytes.try_into().map_err(|_| {
            Fault::Length {
                expected: N,
                found: bytes.len(),
            }
            .into()
        })
    }

    fn describe(_: &mut Registry) -> Type {
        Type::Data
    }

    fn words(&self) -> usize {
        N.div_ceil(8)
    }
}

impl<T: Data> Data for Vec<T> {
    type Promised = Promise<Self>;
    type Fields = NoFields;
    const KIND: Kind = Kind::Pointer;
    const ELEMENT: Element = Element::Pointer;

    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        const { must_be_listable::<T>() };
        T::write_list(self, to, at)
    }

    fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
        const { must_be_listable::<T>() };
        T::read_list(from, at)
    }

    fn describe(types: &mut Registry) -> Type {
        const { must_be_listable::<T>() };
        T::describe_list(types)
    }

    fn words(&self) -> usize {
        T::list_words(self)
    }

    fn refs(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        for item in self {
            item.refs(visit);
        }
    }
}

/// Refuses lists that Cap'n Proto does not have, at compile time.
///
/// # Panics
///
/// When there is no such list; in a constant this is a compile error.
#[track_caller]
pub const fn must_be_listable<T: Data>() {
    assert!(
        !matches!(T::ELEMENT, Element::None),
        "a list cannot hold an `Option` of a struct, a number or an enum: its elements lie in the \
         list itself and are never absent; wrap the `Option` in a struct of its own"
    );
}

impl<T: Data> Data for Box<T> {
    type Promised = Promise<Self>;
    type Fields = NoFields;
    const KIND: Kind = T::KIND;
    const ELEMENT: Element = T::ELEMENT;
    const OPTIONAL: bool = T::OPTIONAL;

    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        T::write(self, to, at)
    }

    fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
        T::read(from, at).map(Self::new)
    }

    fn describe(types: &mut Registry) -> Type {
        T::describe(types)
    }

    fn words(&self) -> usize {
        T::words(self)
    }

    fn refs(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        T::refs(self, visit);
    }
}

/// `None` is a null pointer. A number or plain enum gets a struct of its own to point to.
impl<T: Data> Data for Option<T> {
    type Promised = Promise<Self>;
    type Fields = NoFields;
    const KIND: Kind = Kind::Pointer;
    const ELEMENT: Element = match T::ELEMENT {
        Element::Pointer => Element::Pointer,
        _ => Element::None,
    };
    const OPTIONAL: bool = true;

    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        const { must_not_be_optional::<T>() };
        match self {
            None => Ok(()),
            Some(value) if T::KIND == Kind::Pointer => value.write(to, at),
            Some(value) => value.write(&mut to.structure(at, Boxed::<T>::LAYOUT.size)?, 0),
        }
    }

    fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
        const { must_not_be_optional::<T>() };
        if from.is_null(at) {
            return Ok(None);
        }
        if T::KIND == Kind::Pointer {
            return T::read(from, at).map(Some);
        }
        T::read(&from.structure(at)?, 0).map(Some)
    }

    fn describe(types: &mut Registry) -> Type {
        let ty = T::describe(types);
        if T::KIND == Kind::Pointer {
            return ty;
        }
        let field = FieldShape::new::<T>("value", "", 0, ty.clone());
        types.helper("Optional", &[ty], Boxed::<T>::LAYOUT, vec![field])
    }

    fn words(&self) -> usize {
        match self {
            None => 0,
            Some(value) if T::KIND == Kind::Pointer => value.words(),
            Some(_) => Boxed::<T>::LAYOUT.size.words(),
        }
    }

    fn refs(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        if let Some(value) = self {
            value.refs(visit);
        }
    }
}

/// Refuses an `Option` of an `Option`, which one pointer cannot tell apart.
///
/// # Panics
///
/// When `T` is an `Option`; in a constant this is a compile error.
#[track_caller]
pub const fn must_not_be_optional<T: Data>() {
    assert!(
        !T::OPTIONAL,
        "an `Option` of an `Option` cannot be told apart on the wire; use an enum instead"
    );
}

/// A struct of the one field `value`.
struct Boxed<T>(std::marker::PhantomData<T>);

impl<T: Data> Boxed<T> {
    const SOLVED: &'static Solved<1> = &solve::<1, 0>(&[Member {
        kind: T::KIND,
        branch: None,
    }]);
    const LAYOUT: Layout = Self::SOLVED.layout();
}

/// Entries are written in the order of their keys. A key that comes twice is an error.
impl<K: Data + Ord, V: Data> Data for BTreeMap<K, V> {
    type Promised = Promise<Self>;
    type Fields = NoFields;
    const KIND: Kind = Kind::Pointer;
    const ELEMENT: Element = Element::Pointer;

    fn write(&self, to: &mut Writer<'_>, at: u32) -> Result<()> {
        let mut list = to.list(at, Entry::<K, V>::ELEMENT, self.len())?;
        for ((key, value), at) in self.iter().zip(0..) {
            write_entry(key, value, &mut list, at).map_err(|error| error.in_element(at))?;
        }
        Ok(())
    }

    fn read(from: &Reader<'_>, at: u32) -> Result<Self> {
        let list = from.list(at, Entry::<K, V>::ELEMENT, size_of::<(K, V)>())?;
        let mut map = Self::new();
        for at in 0..list.len() {
            read_entry(&list, at, &mut map).map_err(|error| error.in_element(at))?;
        }
        Ok(map)
    }

    fn describe(types: &mut Registry) -> Type {
        let (key, value) = (K::describe(types), V::describe(types));
        let fields = vec![
            FieldShape::new::<K>("key", "", 0, key.clone()),
            FieldShape::new::<V>("value", "", 1, value.clone()),
        ];
        let entry = types.helper("Entry", &[key, value], Entry::<K, V>::LAYOUT, fields);
        Type::List(Box::new(entry))
    }

    fn words(&self) -> usize {
        let entry =
            |(key, value): (&K, &V)| Entry::<K, V>::SIZE.words() + key.words() + value.words();
        1 + self.iter().map(entry).sum::<usize>()
    }

    /// A key cannot hold references: they have no order.
    fn refs(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        for value in self.values_mut() {
            value.refs(visit);
        }
    }
}

/// An entry of a map.
struct Entry<K, V>(std::marker::PhantomData<(K, V)>);

impl<K: Data, V: Data> Entry<K, V> {
    const SOLVED: &'static Solved<2> = &solve::<2, 0>(&[
        Member {
            kind: K::KIND,
            branch: None,
        },
        Member {
            kind: V::KIND,
            branch: None,
        },
    ]);
    const LAYOUT: Layout = Self::SOLVED.layout();
    const SIZE: Size = Self::SOLVED.size();
    const ELEMENT: Element = Element::Struct(Self::SIZE);
    const KEY: u32 = Self::SOLVED.slot(0).offset;
    const VALUE: u32 = Self::SOLVED.slot(1).offset;
}

fn write_entry<K: Data, V: Data>(key: &K, value: &V, list: &mut Writer<'_>, at: u32) -> Result<()> {
    let mut entry = list.structure(at, Entry::<K, V>::SIZE)?;
    key.write(&mut entry, Entry::<K, V>::KEY)
        .map_err(|error| error.in_field("key"))?;
    value
        .write(&mut entry, Entry::<K, V>::VALUE)
        .map_err(|error| error.in_field("value"))
}

fn read_entry<K: Data + Ord, V: Data>(
    list: &Reader<'_>,
    at: u32,
    map: &mut BTreeMap<K, V>,
) -> Result<()> {
    let entry = list.structure(at)?;
    let key = K::read(&entry, Entry::<K, V>::KEY).map_err(|error| error.in_field("key"))?;
    let value = V::read(&entry, Entry::<K, V>::VALUE).map_err(|error| error.in_field("value"))?;
    if map.insert(key, value).is_some() {
        return Err(Fault::DuplicateKey.into());
    }
    Ok(())
}
