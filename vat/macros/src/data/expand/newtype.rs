//! `Data` of types that go as what is inside them: transparent newtypes and references.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Path, Type};

use super::located;
use crate::data::model::Transparent;

pub(super) fn expand_transparent(transparent: &Transparent) -> TokenStream {
    let Transparent { ident, krate, ty } = transparent;
    let here = located(krate, ty.span());
    let data = quote_spanned!(ty.span()=> <#ty as #here::data::Data>);
    quote! {
        #[automatically_derived]
        const _: () = {
            impl #krate::data::Data for #ident {
                const KIND: #krate::data::Kind = #data::KIND;
                const ELEMENT: #krate::data::Element = #data::ELEMENT;
                const OPTIONAL: bool = #data::OPTIONAL;
                type Promised = #krate::Promise<Self>;
                type Fields = #krate::__private::NoFields;

                fn write(
                    &self,
                    to: &mut #krate::data::Writer<'_>,
                    at: u32,
                ) -> #krate::data::Result<()> {
                    #data::write(&self.0, to, at)
                }

                fn read(from: &#krate::data::Reader<'_>, at: u32) -> #krate::data::Result<Self> {
                    ::core::result::Result::Ok(Self(#data::read(from, at)?))
                }

                fn describe(types: &mut #krate::schema::Registry) -> #krate::schema::Type {
                    #data::describe(types)
                }

                fn words(&self) -> usize {
                    #data::words(&self.0)
                }

                fn refs(&mut self, visit: &mut dyn ::core::ops::FnMut(&mut #krate::Ref)) {
                    #data::refs(&mut self.0, visit)
                }
            }
        };
    }
}

/// `Data` of a reference type: a newtype of `Ref` that has `From<Ref>`, `Into<Ref>` and
/// `AsMut<Ref>`. `describe` is the body of the function of that name, which
/// gets `types: &mut Registry` and gives a `Type`.
pub(crate) fn expand_reference(krate: &Path, ty: &Type, describe: &TokenStream) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #krate::data::Data for #ty {
            const KIND: #krate::data::Kind = #krate::data::Kind::Pointer;
            const ELEMENT: #krate::data::Element = #krate::data::Element::Pointer;
            type Promised = Self;
            type Fields = #krate::__private::NoFields;

            fn write(
                &self,
                to: &mut #krate::data::Writer<'_>,
                at: u32,
            ) -> #krate::data::Result<()> {
                to.reference(at, self)
            }

            fn read(from: &#krate::data::Reader<'_>, at: u32) -> #krate::data::Result<Self> {
                ::core::result::Result::Ok(::core::convert::From::from(from.reference(at)?))
            }

            fn describe(types: &mut #krate::schema::Registry) -> #krate::schema::Type {
                #describe
            }

            fn refs(&mut self, visit: &mut dyn ::core::ops::FnMut(&mut #krate::Ref)) {
                visit(::core::convert::AsMut::as_mut(self));
            }
        }
    }
}
