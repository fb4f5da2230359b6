//! From the model to the impls.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;
use syn::spanned::Spanned;

use super::model::{Field, Item, Leaf, Record, Shape, Variant};
use super::types;

mod codec;
mod describe;
mod newtype;
mod plain;
mod promised;
mod walk;

pub(crate) use newtype::expand_reference;

use codec::{read_fields, write_fields};
use describe::fields;
use newtype::expand_transparent;
use plain::expand_plain;
use promised::{promised, promised_types};
use walk::{count_words, visit_references};

/// The impls of a derived type.
pub(crate) fn item(item: &Item) -> TokenStream {
    match item {
        Item::Record(record) => expand_record(record),
        Item::Plain(plain) => expand_plain(plain),
        Item::Transparent(transparent) => expand_transparent(transparent),
    }
}

/// `Data` and `Record` of a struct or of an enum with payloads, and the struct of the references
/// inside a promised one.
pub(crate) fn expand_record(record: &Record) -> TokenStream {
    let layout = layout(record);
    let data = data_of_record(record);
    let fields = fields(record);
    let write = write_fields(record);
    let read = read_fields(record);
    let (promised_struct, promised_impl) = promised(record);
    let checks = checks(record);
    let Record {
        ident,
        krate,
        name,
        id,
        doc,
        ..
    } = record;
    quote! {
        #promised_struct
        #[automatically_derived]
        const _: () = {
            #layout
            #checks
            #data
            impl #krate::data::Record for #ident {
                const ID: u64 = #id;
                const NAME: &'static str = #name;
                const DOC: &'static str = #doc;
                const LAYOUT: #krate::data::Layout = __VAT_SOLVED.layout();
                #fields
                #write
                #read
            }
            #promised_impl
        };
    }
}

/// The layout as constants.
fn layout(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let leaves = record.leaves();
    let members = leaves.iter().map(|leaf| member(krate, leaf));
    let (count, branches) = (leaves.len(), record.branches());
    quote! {
        const __VAT_SOLVED: &#krate::data::Solved<#count> =
            &#krate::data::solve::<#count, #branches>(&[#(#members),*]);
    }
}

fn member(krate: &Path, leaf: &Leaf) -> TokenStream {
    let kind = kind(krate, &leaf.ty);
    let branch = match leaf.branch {
        None => quote!(::core::option::Option::None),
        Some(index) => quote! {
            ::core::option::Option::Some(#krate::data::Branch { union: 0, index: #index })
        },
    };
    quote!(#krate::data::Member { kind: #kind, branch: #branch })
}

/// The path to the crate as if it stood at the user's tokens: an error is shown where the tokens
/// around it are.
fn located(krate: &Path, span: Span) -> TokenStream {
    let tokens = krate.to_token_stream().into_iter().map(|mut token| {
        token.set_span(span);
        token
    });
    tokens.collect()
}

fn kind(krate: &Path, ty: &TokenStream) -> TokenStream {
    // With the type's own span a missing impl is shown at the user's type.
    let krate = located(krate, ty.span());
    quote_spanned!(ty.span()=> <#ty as #krate::data::Data>::KIND)
}

/// What can be told only when the types are known.
fn checks(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let fields: Vec<&Field> = match &record.shape {
        Shape::Struct(fields) => fields.iter().collect(),
        Shape::Union(variants) => variants.iter().flat_map(Variant::fields).collect(),
    };
    let options = fields
        .iter()
        .flat_map(|field| types::lists_of_options(&field.ty));
    let checks = options.map(|ty| {
        let krate = located(krate, ty.span());
        quote_spanned!(ty.span()=> const _: () = #krate::data::must_be_listable::<#ty>();)
    });
    checks.collect()
}

fn data_of_record(record: &Record) -> TokenStream {
    let Record { ident, krate, .. } = record;
    let visits = visit_references(record);
    let words = count_words(record);
    let promised = promised_types(record);
    quote! {
        impl #krate::data::Data for #ident {
            const KIND: #krate::data::Kind = #krate::data::Kind::Pointer;
            const ELEMENT: #krate::data::Element =
                #krate::data::Element::Struct(__VAT_SOLVED.size());
            #promised

            fn write(
                &self,
                to: &mut #krate::data::Writer<'_>,
                at: u32,
            ) -> #krate::data::Result<()> {
                let mut fields = to.structure(at, __VAT_SOLVED.size())?;
                #krate::data::Record::write_fields(self, &mut fields)
            }

            fn read(from: &#krate::data::Reader<'_>, at: u32) -> #krate::data::Result<Self> {
                #krate::data::Record::read_fields(&from.structure(at)?)
            }

            fn describe(types: &mut #krate::schema::Registry) -> #krate::schema::Type {
                types.record::<Self>()
            }

            #visits
            #words
        }
    }
}

fn offset(ordinal: u16) -> TokenStream {
    let ordinal = usize::from(ordinal);
    quote!(const { __VAT_SOLVED.slot(#ordinal).offset })
}

fn locals(count: usize) -> Vec<Ident> {
    (0..count)
        .map(|n| Ident::new(&format!("field{n}"), Span::mixed_site()))
        .collect()
}
