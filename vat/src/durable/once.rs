//! Calls that run once, however often they are sent: answers remembered by tokens.

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// How many parts of the table are forgotten one after the other.
const PARTS: usize = 8;
/// The longest token, in bytes.
const TOKEN: usize = 64;

/// The answers of calls that must run once, by the tokens that their callers made.
///
/// It is a part of a durable object's state. A method that gets a token asks it first: what was
/// answered before is answered again; otherwise the method's body runs, and its answer is remembered
/// in the same turn as its changes, hence in the same transaction on disk. So a caller that does not
/// know whether its call ran, because the connection broke, sends it again with the same token:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use vat::durable::Once;
/// use vat::prelude::*;
///
/// #[derive(Clone, Default, vat::Object, Serialize, Deserialize)]
/// #[object(durable = "example.Till")]
/// struct Till {
///     cents: u64,
///     paid: Once<u64>,
/// }
///
/// impl Till {
///     fn pay(&mut self, token: &[u8], cents: u64) -> Result<u64> {
///         self.paid.run(token, || {
///             self.cents += cents;
///             Ok(self.cents)
///         })
///     }
/// }
///
/// let mut till = Till::default();
/// assert_eq!(till.pay(b"a", 5)?, 5);
/// assert_eq!(till.pay(b"a", 5)?, 5);
/// assert_eq!(till.pay(b"b", 5)?, 10);
/// # Ok::<(), vat::Error>(())
/// ```
///
/// A token is remembered until at least as many others came after it as [`keeping`](Self::keeping)
/// says, 1,024 by default, and forgotten before a quarter more did: a caller that sends again later
/// than that has its call run twice. Errors are not remembered: the turn has changed nothing, and may
/// be tried again. A token has at most 64 bytes; random ones of 16 cannot meet.
///
/// Copies, as each turn makes one to go back to, share all but the newest part.
#[derive(Clone)]
pub struct Once<T> {
    most: usize,
    young: BTreeMap<Token, T>,
    /// The newest part last.
    parts: VecDeque<Rc<BTreeMap<Token, T>>>,
}

/// A token, as bytes on disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
struct Token(#[serde(with = "serde_bytes")] Vec<u8>);

impl Borrow<[u8]> for Token {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl<T> Once<T> {
    /// An empty table that keeps each token for this many later ones.
    #[must_use]
    pub fn keeping(most: usize) -> Self {
        Self {
            most,
            young: BTreeMap::new(),
            parts: VecDeque::new(),
        }
    }

    /// What was answered to the call with this token.
    pub fn answer(&self, token: &[u8]) -> Option<&T> {
        let parts = self.parts.iter().rev().map(|part| &**part);
        std::iter::once(&self.young)
            .chain(parts)
            .find_map(|part| part.get(token))
    }

    /// The answer to the call with this token is known.
    ///
    /// # Errors
    ///
    /// If the token is empty or longer than 64 bytes.
    pub fn remember(&mut self, token: &[u8], answer: T) -> Result<()> {
        if token.is_empty() || token.len() > TOKEN {
            let length = token.len();
            return Err(Error::failed(format!(
                "a token has between 1 and {TOKEN} bytes, this one has {length}"
            )));
        }
        self.young.insert(Token(token.to_vec()), answer);
        if self.young.len() > self.most / PARTS {
            self.parts
                .push_back(Rc::new(std::mem::take(&mut self.young)));
            while self.parts.len() > PARTS {
                self.parts.pop_front();
            }
        }
        Ok(())
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.parts.iter().map(|part| part.len()).sum::<usize>()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.parts.is_empty()
    }
}

impl<T: Clone> Once<T> {
    /// The answer to the call with this token: what was answered before, or what `body` gives, which
    /// is remembered if it is no error.
    ///
    /// # Errors
    ///
    /// What `body` gives, and a token of a wrong length.
    pub fn run(&mut self, token: &[u8], body: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Some(answer) = self.answer(token) {
            return Ok(answer.clone());
        }
        let answer = body()?;
        self.remember(token, answer.clone())?;
        Ok(answer)
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::keeping(1_024)
    }
}

/// Tokens are their callers' secrets: how many there are.
impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Once({} of {})", self.len(), self.most)
    }
}

impl<T: Serialize> Serialize for Once<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(Some(self.parts.len() + 2))?;
        all.serialize_element(&self.most)?;
        for part in &self.parts {
            all.serialize_element(&**part)?;
        }
        all.serialize_element(&self.young)?;
        all.end()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Once<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All<T>(std::marker::PhantomData<T>);
        impl<'de, T: DeserializeOwned> Visitor<'de> for All<T> {
            type Value = Once<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of tokens")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Once<T>, A::Error> {
                let most = all.next_element()?;
                let mut once = Once::keeping(most.unwrap_or_default());
                while let Some(part) = all.next_element::<BTreeMap<Token, T>>()? {
                    once.parts.push_back(Rc::new(part));
                }
                if let Some(young) = once.parts.pop_back() {
                    once.young = Rc::into_inner(young).unwrap_or_default();
                }
                Ok(once)
            }
        }
        deserializer.deserialize_seq(All(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_for_as_many_later_ones_as_was_said() {
        for most in [1, 7, 8, 100] {
            let mut once = Once::keeping(most);
            for number in 0..1_000_usize {
                once.remember(&number.to_be_bytes(), number).unwrap();
                let first = number.saturating_sub(most);
                for kept in first..=number {
                    let answer = once.answer(&kept.to_be_bytes());
                    assert_eq!(answer, Some(&kept), "{most} {number}");
                }
                assert!(
                    once.len() <= most + most / 4 + PARTS + 1,
                    "{most} {}",
                    once.len()
                );
            }
        }
    }

    #[test]
    fn an_error_is_not_remembered_and_an_answer_is() {
        let mut once = Once::<u8>::default();
        once.run(b"a", || Err(Error::failed("no"))).unwrap_err();
        assert!(once.is_empty());
        assert_eq!(once.run(b"a", || Ok(1)).unwrap(), 1);
        assert_eq!(once.run(b"a", || Ok(2)).unwrap(), 1);
        once.run(b"", || Ok(1)).unwrap_err();
        once.run(&[0; 65], || Ok(1)).unwrap_err();
    }

    #[test]
    fn it_comes_back_as_it_was() {
        let mut once = Once::keeping(10);
        for number in 0..23_u64 {
            once.remember(&number.to_be_bytes(), number).unwrap();
        }
        let bytes = rmp_serde::to_vec_named(&once).unwrap();
        let back: Once<u64> = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(
            (back.most, &back.young, &back.parts),
            (10, &once.young, &once.parts)
        );
    }
}
