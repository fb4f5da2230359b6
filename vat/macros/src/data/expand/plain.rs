//! `Data` and `Scalar` of an enum without payloads.

use proc_macro2::TokenStream;
use quote::quote;

use crate::data::model::Plain;

pub(super) fn expand_plain(plain: &Plain) -> TokenStream {
    let Plain {
        ident,
        krate,
        name,
        id,
        doc,
        enumerants,
    } = plain;
    let known: Vec<_> = enumerants
        .iter()
        .filter_map(|enumerant| {
            enumerant
                .ident
                .as_ref()
                .map(|ident| (ident, enumerant.ordinal))
        })
        .collect();
    let idents = known.iter().map(|(ident, _)| ident).collect::<Vec<_>>();
    let values = known
        .iter()
        .map(|(_, ordinal)| *ordinal)
        .collect::<Vec<_>>();
    let described = enumerants.iter().map(|enumerant| {
        let (name, doc) = (&enumerant.name, &enumerant.doc);
        quote!((#name, #doc))
    });
    let (rust_name, count) = (ident.to_string(), known.len());
    quote! {
        #[automatically_derived]
        const _: () = {
            impl #krate::data::Data for #ident {
                const KIND: #krate::data::Kind = #krate::data::Kind::Bits(4);
                const ELEMENT: #krate::data::Element = #krate::data::Element::Bits(4);
                type Promised = #krate::Promise<Self>;
                type Fields = #krate::__private::NoFields;

                fn write(
                    &self,
                    to: &mut #krate::data::Writer<'_>,
                    at: u32,
                ) -> #krate::data::Result<()> {
                    to.bits(4, at, #krate::data::Scalar::to_bits(self))
                }

                fn read(from: &#krate::data::Reader<'_>, at: u32) -> #krate::data::Result<Self> {
                    #krate::data::Scalar::from_bits(from.bits(4, at))
                }

                fn describe(types: &mut #krate::schema::Registry) -> #krate::schema::Type {
                    types.enumeration(#id, #name, #doc, &[#(#described),*])
                }
            }

            impl #krate::data::Scalar for #ident {
                const SIZE: u8 = 4;

                fn to_bits(&self) -> u64 {
                    match self { #(Self::#idents => #values as u64,)* }
                }

                fn from_bits(bits: u64) -> #krate::data::Result<Self> {
                    match bits as u16 {
                        #(#values => ::core::result::Result::Ok(Self::#idents),)*
                        value => ::core::result::Result::Err(
                            #krate::data::Fault::UnknownEnumerant {
                                ty: #rust_name,
                                value,
                                known: #count as u16,
                            }.into_error()
                        ),
                    }
                }

                fn to_value(&self) -> #krate::schema::Value {
                    #krate::schema::Value::Enum(#krate::data::Scalar::to_bits(self) as u16)
                }
            }
        };
    }
}
