//! From the model to the impls.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Path, Type};

use super::model::{Field, Item, Leaf, Payload, Plain, Record, Shape, Transparent, Variant};
use super::types;

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

/// Registers and describes the fields.
fn fields(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let shapes: Vec<TokenStream> = match &record.shape {
        Shape::Struct(fields) => fields
            .iter()
            .map(|field| field_shape(krate, field))
            .collect(),
        Shape::Union(variants) => variants
            .iter()
            .map(|variant| variant_shape(krate, variant))
            .collect(),
    };
    let branch = matches!(record.shape, Shape::Union(_)).then(|| quote!(.branch()));
    let reserved = record.reserved.iter().map(|reserved| {
        let (ordinal, ty) = (reserved.ordinal, &reserved.ty);
        let name = format!("reserved{ordinal}");
        quote!(types.field::<#ty>(#name, "", #ordinal)#branch)
    });
    quote! {
        fn fields(
            types: &mut #krate::schema::Registry,
        ) -> ::std::vec::Vec<#krate::schema::FieldShape> {
            let _ = &types;
            ::std::vec![#(#shapes,)* #(#reserved,)*]
        }
    }
}

fn field_shape(krate: &Path, field: &Field) -> TokenStream {
    let Field {
        name,
        doc,
        ordinal,
        ty,
        default,
        ..
    } = field;
    let default = default.as_ref().map(|value| {
        quote_spanned! {value.span()=>
            .with_default::<#ty>(&#krate::data::default_value::<#ty>(#value))
        }
    });
    quote!(types.field::<#ty>(#name, #doc, #ordinal)#default)
}

fn variant_shape(krate: &Path, variant: &Variant) -> TokenStream {
    let Variant {
        name, doc, payload, ..
    } = variant;
    match payload {
        Payload::Unit(ordinal) => quote!(types.field::<()>(#name, #doc, #ordinal).branch()),
        Payload::One(field) => {
            let (ordinal, ty) = (field.ordinal, &field.ty);
            let doc = if doc.is_empty() { &field.doc } else { doc };
            quote!(types.field::<#ty>(#name, #doc, #ordinal).branch())
        }
        Payload::Group(fields) => {
            let fields = fields.iter().map(|field| field_shape(krate, field));
            quote! {{
                let fields = ::std::vec![#(#fields),*];
                #krate::schema::FieldShape::group(#name, #doc, fields)
            }}
        }
    }
}

fn write_fields(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let body = match &record.shape {
        Shape::Struct(fields) => {
            let writes = fields.iter().map(|field| {
                let member = &field.member;
                write_field(krate, field, &quote!(&self.#member))
            });
            quote!(#(#writes)*)
        }
        Shape::Union(variants) => {
            let arms = variants.iter().map(|variant| write_variant(krate, variant));
            quote!(match self { #(#arms)* })
        }
    };
    quote! {
        fn write_fields(&self, to: &mut #krate::data::Writer<'_>) -> #krate::data::Result<()> {
            let _ = &to;
            #body
            ::core::result::Result::Ok(())
        }
    }
}

fn write_field(krate: &Path, field: &Field, value: &TokenStream) -> TokenStream {
    let Field {
        name,
        ordinal,
        ty,
        default,
        ..
    } = field;
    let at = offset(*ordinal);
    let written = match default {
        None => quote!(<#ty as #krate::data::Data>::write(#value, to, #at)),
        Some(default) => quote_spanned! {default.span()=>
            <#ty as #krate::data::Scalar>::write_with_default(
                #value,
                &#krate::data::default_value::<#ty>(#default),
                to,
                #at,
            )
        },
    };
    quote!(#written.map_err(|error| error.in_field(#name))?;)
}

fn write_variant(krate: &Path, variant: &Variant) -> TokenStream {
    let ident = &variant.ident;
    let ordinal = usize::from(variant.some_ordinal());
    let fields = variant.fields();
    let members = fields.iter().map(|field| &field.member);
    let locals: Vec<Ident> = locals(fields.len());
    let writes = fields
        .iter()
        .zip(&locals)
        .map(|(field, local)| write_field(krate, field, &local.to_token_stream()));
    quote! {
        Self::#ident { #(#members: #locals),* } => {
            to.bits(
                4,
                const { __VAT_SOLVED.discriminant() },
                const { __VAT_SOLVED.slot(#ordinal).variant as u64 },
            )?;
            #(#writes)*
        }
    }
}

fn read_fields(record: &Record) -> TokenStream {
    let Record { krate, ident, .. } = record;
    let body = match &record.shape {
        Shape::Struct(fields) => {
            let members = fields.iter().map(|field| &field.member);
            let reads = fields.iter().map(|field| read_field(krate, field));
            quote!(::core::result::Result::Ok(Self { #(#members: #reads),* }))
        }
        Shape::Union(variants) => {
            let known = record.branches();
            let name = ident.to_string();
            let arms = variants.iter().map(|variant| read_variant(krate, variant));
            quote! {
                let value = from.bits(4, const { __VAT_SOLVED.discriminant() }) as u16;
                #(#arms)*
                ::core::result::Result::Err(#krate::data::Fault::UnknownVariant {
                    ty: #name,
                    value,
                    known: #known as u16,
                }.into_error())
            }
        }
    };
    quote! {
        fn read_fields(from: &#krate::data::Reader<'_>) -> #krate::data::Result<Self> {
            let _ = from;
            #body
        }
    }
}

fn read_field(krate: &Path, field: &Field) -> TokenStream {
    let Field {
        name,
        ordinal,
        ty,
        default,
        ..
    } = field;
    let at = offset(*ordinal);
    let read = match default {
        None => quote!(<#ty as #krate::data::Data>::read(from, #at)),
        Some(default) => quote_spanned! {default.span()=>
            <#ty as #krate::data::Scalar>::read_with_default(
                &#krate::data::default_value::<#ty>(#default),
                from,
                #at,
            )
        },
    };
    quote!(#read.map_err(|error| error.in_field(#name))?)
}

fn read_variant(krate: &Path, variant: &Variant) -> TokenStream {
    let ident = &variant.ident;
    let ordinal = usize::from(variant.some_ordinal());
    let members = variant.fields().iter().map(|field| &field.member);
    let reads = variant
        .fields()
        .iter()
        .map(|field| read_field(krate, field));
    quote! {
        if value == const { __VAT_SOLVED.slot(#ordinal).variant } {
            return ::core::result::Result::Ok(Self::#ident { #(#members: #reads),* });
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

/// `refs`: visits the references inside a value.
fn visit_references(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let visit = |field: &Field, value: TokenStream| {
        let ty = &field.ty;
        quote!(<#ty as #krate::data::Data>::refs(#value, visit);)
    };
    let body = match &record.shape {
        Shape::Struct(fields) => {
            let visits = fields.iter().map(|field| {
                let member = &field.member;
                visit(field, quote!(&mut self.#member))
            });
            quote!(#(#visits)*)
        }
        Shape::Union(variants) => {
            let arms = variants.iter().map(|variant| {
                let ident = &variant.ident;
                let members = variant.fields().iter().map(|field| &field.member);
                let locals = locals(variant.fields().len());
                let visits = variant
                    .fields()
                    .iter()
                    .zip(&locals)
                    .map(|(field, local)| visit(field, local.to_token_stream()));
                quote!(Self::#ident { #(#members: #locals),* } => { #(#visits)* })
            });
            quote!(match self { #(#arms)* })
        }
    };
    quote! {
        fn refs(&mut self, visit: &mut dyn ::core::ops::FnMut(&mut #krate::Ref)) {
            let _ = &visit;
            #body
        }
    }
}

/// `words`: the size of a value that is written.
fn count_words(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let count = |field: &Field, value: TokenStream| {
        let ty = &field.ty;
        quote!(words += <#ty as #krate::data::Data>::words(#value);)
    };
    let body = match &record.shape {
        Shape::Struct(fields) => {
            let counts = fields.iter().map(|field| {
                let member = &field.member;
                count(field, quote!(&self.#member))
            });
            quote!(#(#counts)*)
        }
        Shape::Union(variants) => {
            let arms = variants.iter().map(|variant| {
                let ident = &variant.ident;
                let members = variant.fields().iter().map(|field| &field.member);
                let locals = locals(variant.fields().len());
                let counts = variant
                    .fields()
                    .iter()
                    .zip(&locals)
                    .map(|(field, local)| count(field, local.to_token_stream()));
                quote!(Self::#ident { #(#members: #locals),* } => { #(#counts)* })
            });
            quote!(match self { #(#arms)* })
        }
    };
    quote! {
        #[allow(unused_mut, reason = "a struct may have no fields")]
        fn words(&self) -> usize {
            let mut words = <Self as #krate::data::Record>::LAYOUT.size.words();
            #body
            words
        }
    }
}

/// The associated types that say what a caller gets at once.
fn promised_types(record: &Record) -> TokenStream {
    let krate = &record.krate;
    let fields = if record.references().is_empty() {
        quote!(#krate::__private::NoFields)
    } else {
        promised_ident(record).to_token_stream()
    };
    quote! {
        type Promised = #krate::Promise<Self>;
        type Fields = #fields;
    }
}

fn promised_ident(record: &Record) -> Ident {
    format_ident!("{}Promised", record.ident)
}

/// The struct of the references inside a promised value, and its impl.
fn promised(record: &Record) -> (TokenStream, TokenStream) {
    let references = record.references();
    if references.is_empty() {
        return (TokenStream::new(), TokenStream::new());
    }
    let Record {
        ident, vis, krate, ..
    } = record;
    let name = promised_ident(record);
    let doc = format!(
        "The references inside a promised [`{ident}`], which can be called before it is there."
    );
    let declared = references.iter().map(|field| {
        let Field {
            vis,
            member,
            ty,
            doc,
            ..
        } = field;
        quote!(#[doc = #doc] #vis #member: #ty)
    });
    let members: Vec<_> = references.iter().map(|field| &field.member).collect();
    let paths = references.iter().map(|field| {
        let at = offset(field.ordinal);
        quote!(&[#at as u16])
    });
    let indexes = 0..references.len();
    let structure = quote! {
        #[doc = #doc]
        #[allow(dead_code, reason = "a program need not call every reference ahead")]
        #[derive(Debug)]
        #vis struct #name { #(#declared),* }
    };
    let expanded = quote! {
        impl #krate::__private::Fields<#ident> for #name {
            const PATHS: &'static [&'static [u16]] = &[#(#paths),*];

            fn new(promised: &[#krate::Ref]) -> Self {
                Self {
                    #(#members: ::core::convert::From::from(
                        ::core::clone::Clone::clone(&promised[#indexes])
                    )),*
                }
            }

            fn of(value: &#ident) -> ::std::vec::Vec<::core::option::Option<#krate::Ref>> {
                ::std::vec![#(::core::option::Option::Some(
                    ::core::convert::Into::into(::core::clone::Clone::clone(&value.#members))
                )),*]
            }
        }
    };
    (structure, expanded)
}

fn expand_plain(plain: &Plain) -> TokenStream {
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

fn expand_transparent(transparent: &Transparent) -> TokenStream {
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
