//! The ordinals of a type: given or counted, without holes.

use proc_macro2::{Ident, Span};
use syn::spanned::Spanned;

use crate::attributes::Errors;
use crate::data::model::Reserved;

/// The ordinals of a type: either none are given, and the position counts, or all.
pub(super) struct Ordinals<'a> {
    pub(super) ident: &'a Ident,
    given: Vec<(Option<u16>, Span)>,
    assigned: Vec<u16>,
}

impl<'a> Ordinals<'a> {
    pub(super) fn new(ident: &'a Ident) -> Self {
        Self {
            ident,
            given: Vec::new(),
            assigned: Vec::new(),
        }
    }

    /// Notes the next member; gives its position among all.
    pub(super) fn push(&mut self, ordinal: Option<(u16, Span)>, span: Span) -> u16 {
        let position = u16::try_from(self.given.len()).unwrap_or(u16::MAX);
        self.given.push((
            ordinal.map(|(ordinal, _)| ordinal),
            ordinal.map_or(span, |(_, at)| at),
        ));
        position
    }

    pub(super) fn explicit(&self) -> bool {
        self.given.iter().any(|(ordinal, _)| ordinal.is_some())
    }

    pub(super) fn of(&self, position: usize) -> u16 {
        self.assigned.get(position).copied().unwrap_or_default()
    }

    /// Checks that the ordinals are 0, 1, 2, … without holes, the reserved ones included.
    pub(super) fn finish(&mut self, reserved: &[Reserved], errors: &mut Errors) {
        if self.given.len() + reserved.len() >= usize::from(u16::MAX) {
            let span = self
                .given
                .first()
                .map_or_else(Span::call_site, |(_, span)| *span);
            errors.add(syn::Error::new(span, "a type has at most 65535 ordinals"));
            return;
        }
        if !self.explicit() {
            self.count(reserved);
        }
        let mut taken: Vec<Option<()>> = vec![None; self.given.len() + reserved.len()];
        let gone = reserved
            .iter()
            .map(|gone| (Some(gone.ordinal), gone.ty.span()));
        for (ordinal, span) in self.given.iter().copied().chain(gone) {
            let Some(ordinal) = ordinal else {
                let message = "this has no ordinal while others have one: give all of them one";
                errors.add(syn::Error::new(span, message));
                continue;
            };
            match taken.get_mut(usize::from(ordinal)) {
                Some(place @ None) => *place = Some(()),
                Some(Some(())) => {
                    errors.add(syn::Error::new(span, format!("ordinal {ordinal} is taken")));
                }
                None => {
                    let message = format!(
                        "ordinal {ordinal} leaves a hole: ordinals count 0, 1, 2, …; for a removed \
                         field write `#[data(reserved(n: Type))]` before the type"
                    );
                    errors.add(syn::Error::new(span, message));
                }
            }
        }
        self.assigned = self
            .given
            .iter()
            .map(|(ordinal, _)| ordinal.unwrap_or_default())
            .collect();
    }

    /// Gives everything its position as ordinal, passing over the reserved ones.
    fn count(&mut self, reserved: &[Reserved]) {
        let free = (0..=u16::MAX).filter(|n| reserved.iter().all(|gone| gone.ordinal != *n));
        for ((ordinal, _), n) in self.given.iter_mut().zip(free) {
            *ordinal = Some(n);
        }
    }
}
