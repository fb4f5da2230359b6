//! From the model to what is emitted: one function per item.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Path, Type};

use super::model::{Form, Interface, Method, Param};
use super::parse::plain;
use crate::attributes::Errors;
use crate::data::{Field, Record, expand_record, expand_reference, is_reference};

/// Everything that one interface becomes.
pub(crate) fn interface(interface: &Interface, errors: &mut Errors) -> TokenStream {
    let item = &interface.item;
    let methods = interface.methods.iter().zip(0..);
    let methods: TokenStream = methods
        .map(|(each, ordinal)| method(interface, each, ordinal, errors))
        .collect();
    let reference = reference(interface);
    let conversions = conversions(interface);
    let data = reference_data(interface);
    let senders = senders(interface);
    let dispatch = dispatch(interface);
    let near = near(interface);
    quote! {
        #item
        #reference
        #[automatically_derived]
        const _: () = {
            #methods
            #conversions
            #data
            #senders
            #dispatch
            #near
        };
    }
}

/// `GreeterRef`.
fn reference(interface: &Interface) -> TokenStream {
    let Interface {
        ident, vis, krate, ..
    } = interface;
    let name = reference_ident(ident);
    let inner = parent(interface);
    let doc = format!(
        "A reference to a [`{ident}`], wherever it is: calls are sent, and answered by promises."
    );
    quote! {
        #[doc = #doc]
        #[derive(::core::clone::Clone)]
        #vis struct #name(#inner);

        impl ::core::ops::Deref for #name {
            type Target = #inner;

            fn deref(&self) -> &#inner {
                &self.0
            }
        }

        impl #krate::__private::serde::Serialize for #name {
            fn serialize<VatSerializer: #krate::__private::serde::Serializer>(
                &self,
                serializer: VatSerializer,
            ) -> ::core::result::Result<VatSerializer::Ok, VatSerializer::Error> {
                let untyped: &#krate::__private::Ref = ::core::convert::AsRef::as_ref(self);
                #krate::__private::serde::Serialize::serialize(untyped, serializer)
            }
        }

        impl<'de> #krate::__private::serde::Deserialize<'de> for #name {
            fn deserialize<VatDeserializer: #krate::__private::serde::Deserializer<'de>>(
                deserializer: VatDeserializer,
            ) -> ::core::result::Result<Self, VatDeserializer::Error> {
                let untyped: #krate::__private::Ref =
                    #krate::__private::serde::Deserialize::deserialize(deserializer)?;
                ::core::result::Result::Ok(::core::convert::From::from(untyped))
            }
        }

        impl ::core::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(::core::stringify!(#name))?;
                let untyped: &#krate::__private::Ref = ::core::convert::AsRef::as_ref(self);
                ::core::fmt::Debug::fmt(untyped, f)
            }
        }
    }
}

/// From and to `Ref`, from `Near`, and up to the interface it extends.
fn conversions(interface: &Interface) -> TokenStream {
    let Interface { ident, krate, .. } = interface;
    let name = reference_ident(ident);
    let inner = parent(interface);
    let up = interface.extends.as_ref().map(|_| {
        quote! {
            impl ::core::convert::From<#name> for #inner {
                fn from(reference: #name) -> Self {
                    reference.0
                }
            }
        }
    });
    quote! {
        impl ::core::convert::From<#krate::__private::Ref> for #name {
            fn from(reference: #krate::__private::Ref) -> Self {
                Self(::core::convert::From::from(reference))
            }
        }

        impl ::core::convert::From<#name> for #krate::__private::Ref {
            fn from(reference: #name) -> Self {
                ::core::convert::Into::into(reference.0)
            }
        }

        impl ::core::convert::From<&#name> for #krate::__private::Ref {
            fn from(reference: &#name) -> Self {
                ::core::convert::Into::into(::core::clone::Clone::clone(&reference.0))
            }
        }

        impl ::core::convert::From<&#name> for #name {
            fn from(reference: &#name) -> Self {
                ::core::clone::Clone::clone(reference)
            }
        }

        impl ::core::convert::AsRef<#krate::__private::Ref> for #name {
            fn as_ref(&self) -> &#krate::__private::Ref {
                ::core::convert::AsRef::as_ref(&self.0)
            }
        }

        impl ::core::convert::AsMut<#krate::__private::Ref> for #name {
            fn as_mut(&mut self) -> &mut #krate::__private::Ref {
                ::core::convert::AsMut::as_mut(&mut self.0)
            }
        }

        impl<VatObject> ::core::convert::From<&#krate::__private::Near<VatObject>> for #name
        where
            VatObject: #ident + #krate::__private::Object,
        {
            fn from(near: &#krate::__private::Near<VatObject>) -> Self {
                #krate::__private::reference(near)
            }
        }

        impl<VatObject> ::core::convert::From<#krate::__private::Near<VatObject>> for #name
        where
            VatObject: #ident + #krate::__private::Object,
        {
            fn from(near: #krate::__private::Near<VatObject>) -> Self {
                #krate::__private::reference(&near)
            }
        }

        #up
    }
}

/// `Data` and `Interface` of the reference, and the description of the interface.
fn reference_data(interface: &Interface) -> TokenStream {
    let Interface {
        ident,
        krate,
        name: full_name,
        id,
        doc,
        ..
    } = interface;
    let name = reference_ident(ident);
    let ty: Type = syn::parse_quote!(#name);
    let extends = interface.extends.as_ref().map(|_| {
        let inner = parent(interface);
        quote!(shape.extends::<#inner>();)
    });
    let methods = interface.methods.iter().map(|method| {
        let (params, output) = (params_ident(&method.ident), &method.output);
        let (name, doc) = (&method.name, &method.doc);
        let add = match method.form {
            Form::Read => quote!(read),
            Form::Write | Form::Async => quote!(method),
        };
        let cancellable = method.cancellable.then(|| quote!(shape.cancellable();));
        quote! {
            shape.#add::<#params, #krate::__private::Results<#output>>(#name, #doc);
            #cancellable
        }
    });
    let describe = quote! {
        types.interface(#id, #full_name, #doc, |shape| {
            let _ = &shape;
            #extends
            #(#methods)*
        })
    };
    let data = expand_reference(krate, &ty, &describe);
    quote! {
        #data

        impl #krate::__private::Interface for #name {
            const ID: u64 = #id;
            const NAME: &'static str = #full_name;
        }
    }
}

/// The struct of a method's parameters, and its marker.
fn method(
    interface: &Interface,
    method: &Method,
    ordinal: u16,
    errors: &mut Errors,
) -> TokenStream {
    let Interface { krate, id, .. } = interface;
    let (params, marker) = (params_ident(&method.ident), marker_ident(&method.ident));
    let (output, cancellable) = (&method.output, method.cancellable);
    let full = format!("{}.{}", interface.ident, plain(&method.ident));
    let fields = fields(method, errors);
    let record = expand_record(&Record::parameters(params.clone(), krate.clone(), fields));
    let declared = method
        .params
        .iter()
        .map(|Param { ident, owned, .. }| quote!(#ident: #owned));
    quote! {
        #[derive(::core::clone::Clone)]
        #[allow(non_camel_case_types, reason = "named after the method")]
        struct #params { #(#declared),* }

        #record

        #[allow(non_camel_case_types, reason = "named after the method")]
        struct #marker;

        impl #krate::__private::Method for #marker {
            type Params = #params;
            type Output = #output;
            const INTERFACE: u64 = #id;
            const ORDINAL: u16 = #ordinal;
            const NAME: &'static str = #full;
            const CANCELLABLE: bool = #cancellable;
        }
    }
}

fn fields(method: &Method, errors: &mut Errors) -> Vec<Field> {
    let params = method.params.iter().zip(0..);
    let fields = params.map(|(param, ordinal)| {
        let Param {
            ident,
            owned,
            doc,
            default,
            ..
        } = param;
        Field::parameter(errors, ident, owned, ordinal, doc.clone(), default.clone())
    });
    fields.collect()
}

/// `GreeterRef::new` and one sender per method.
fn senders(interface: &Interface) -> TokenStream {
    let Interface {
        ident, vis, krate, ..
    } = interface;
    let name = reference_ident(ident);
    let senders = interface
        .methods
        .iter()
        .map(|method| sender(interface, method));
    quote! {
        #[allow(dead_code, reason = "a program need not call every method it declares")]
        impl #name {
            /// A new object of the turn's vat, as a reference.
            #vis fn new(
                turn: &#krate::__private::Turn,
                object: impl #ident + #krate::__private::Object,
            ) -> Self {
                ::core::convert::From::from(#krate::__private::Turn::spawn(turn, object))
            }

            #(#senders)*
        }
    }
}

fn sender(interface: &Interface, method: &Method) -> TokenStream {
    let Interface { vis, krate, .. } = interface;
    let Method {
        ident,
        attributes,
        params,
        output,
        ..
    } = method;
    let (record, marker) = (params_ident(ident), marker_ident(ident));
    let (span, reference) = (ident.span(), local("reference"));
    let declared = params.iter().map(|Param { ident, owned, .. }| {
        if converts(owned) {
            quote!(#ident: impl ::core::convert::Into<#owned>)
        } else {
            quote!(#ident: #owned)
        }
    });
    let filled = params.iter().map(|Param { ident, owned, .. }| {
        if converts(owned) {
            quote!(#ident: ::core::convert::Into::into(#ident))
        } else {
            quote!(#ident)
        }
    });
    let promised = if is_reference(output) {
        quote!(#output)
    } else {
        quote!(#krate::__private::Promise<#output>)
    };
    quote_spanned! {span=>
        #(#attributes)*
        #vis fn #ident(&self, #(#declared),*) -> #promised {
            let #reference: &#krate::__private::Ref = ::core::convert::AsRef::as_ref(self);
            #krate::__private::Ref::send::<#marker>(#reference, #record { #(#filled),* })
        }
    }
}

/// How messages reach an object.
fn dispatch(interface: &Interface) -> TokenStream {
    let Interface {
        ident,
        krate,
        name: full_name,
        id,
        ..
    } = interface;
    let name = reference_ident(ident);
    let arms = interface
        .methods
        .iter()
        .zip(0u16..)
        .map(|(method, ordinal)| {
            let run = run(interface, method);
            quote!((#id, #ordinal) => #run,)
        });
    let otherwise = match interface.extends {
        Some(_) => {
            let inner = parent(interface);
            quote!(<#inner as #krate::__private::Serves<VatObject>>::deliver(delivery))
        }
        None => quote!(#krate::__private::Delivery::refuse(delivery)),
    };
    quote! {
        impl<VatObject> #krate::__private::Serves<VatObject> for #name
        where
            VatObject: #ident + #krate::__private::Object,
        {
            const DISPATCH: &'static #krate::__private::Dispatch = &#krate::__private::Dispatch {
                name: #full_name,
                deliver: <Self as #krate::__private::Serves<VatObject>>::deliver,
                describe: ::core::option::Option::Some(#krate::__private::describe::<Self>),
            };

            fn deliver(delivery: #krate::__private::Delivery) {
                match (
                    #krate::__private::Delivery::interface(&delivery),
                    #krate::__private::Delivery::method(&delivery),
                ) {
                    #(#arms)*
                    _ => #otherwise,
                }
            }
        }
    }
}

/// One method of the dispatch. Its span is the method's, so that errors name the place.
fn run(interface: &Interface, method: &Method) -> TokenStream {
    let Interface {
        ident: interface_ident,
        krate,
        ..
    } = interface;
    let Method { ident, params, .. } = method;
    let (record, marker) = (params_ident(ident), marker_ident(ident));
    let (object, context, values) = (local("object"), local("context"), local("values"));
    let locals = locals(params);
    let idents = params.iter().map(|param| &param.ident);
    let passed = params.iter().zip(&locals).map(|(param, local)| {
        if param.is_borrowed() {
            quote!(&#local)
        } else {
            quote!(#local)
        }
    });
    let passed: Vec<TokenStream> = passed.collect();
    let open = quote!(let #record { #(#idents: #locals),* } = #values;);
    let call = quote!(<VatObject as #interface_ident>::#ident);
    let (runner, body) = match method.form {
        Form::Read => (
            quote!(read),
            quote!({ #open #call(#object, #context, #(#passed),*) }),
        ),
        Form::Write => (
            quote!(write),
            quote!({ #open #call(#object, #context, #(#passed),*) }),
        ),
        Form::Async => (
            quote!(run),
            quote!(async move { #open #call(#object, &#context, #(#passed),*).await }),
        ),
    };
    let tail = match method.form {
        Form::Async => quote!(_, _, _),
        Form::Read | Form::Write => quote!(_, _),
    };
    quote_spanned! {ident.span()=>
        #krate::__private::Delivery::#runner::<#marker, VatObject, #tail>(
            delivery,
            |#object, #context, #values| #body,
        )
    }
}

/// The interface for `Near<T>`: near calls are plain method calls.
fn near(interface: &Interface) -> TokenStream {
    let Interface { ident, krate, .. } = interface;
    let methods = interface
        .methods
        .iter()
        .map(|method| near_method(interface, method));
    quote! {
        impl<VatObject> #ident for #krate::__private::Near<VatObject>
        where
            VatObject: #ident + #krate::__private::Object,
        {
            #(#methods)*
        }
    }
}

fn near_method(interface: &Interface, method: &Method) -> TokenStream {
    let Interface {
        ident: interface_ident,
        krate,
        ..
    } = interface;
    let Method {
        ident,
        params,
        context,
        returns,
        ..
    } = method;
    let (object, turn) = (local("object"), local("turn"));
    let locals = locals(params);
    let declared: Vec<TokenStream> = params
        .iter()
        .zip(&locals)
        .map(|(Param { declared, .. }, local)| quote!(#local: #declared))
        .collect();
    let call = quote!(<VatObject as #interface_ident>::#ident);
    let near = quote!(#krate::__private::Near);
    match (method.form, context.as_slice()) {
        (Form::Read, [turn_type]) => quote! {
            #[track_caller]
            fn #ident(&self, #turn: #turn_type, #(#declared),*) -> #returns {
                #near::read(self, #turn, |#object| #call(#object, #turn, #(#locals),*))?
            }
        },
        (Form::Write, [turn_type]) => quote! {
            #[track_caller]
            fn #ident(&mut self, #turn: #turn_type, #(#declared),*) -> #returns {
                #near::call(self, #turn, |#object| #call(#object, #turn, #(#locals),*))
            }
        },
        (Form::Async, [this_type, cx_type]) => quote! {
            async fn #ident(
                #object: #this_type,
                #turn: #cx_type,
                #(#declared),*
            ) -> #returns {
                let #object = #near::read(&#object, #turn, ::core::clone::Clone::clone)?;
                #call(#object, #turn, #(#locals),*).await
            }
        },
        _ => TokenStream::new(),
    }
}

/// What the reference is a newtype of: the reference of the interface it extends, or `Ref`.
fn parent(interface: &Interface) -> TokenStream {
    let krate = &interface.krate;
    match &interface.extends {
        None => quote!(#krate::__private::Ref),
        Some(path) => {
            let path = reference_path(path);
            quote!(#path)
        }
    }
}

/// `a::Node` → `a::NodeRef`.
fn reference_path(path: &Path) -> Path {
    let mut path = path.clone();
    if let Some(last) = path.segments.last_mut() {
        last.ident = reference_ident(&last.ident);
    }
    path
}

fn reference_ident(ident: &Ident) -> Ident {
    format_ident!("{}Ref", plain(ident), span = ident.span())
}

fn params_ident(method: &Ident) -> Ident {
    format_ident!("__vat_{}_params", plain(method), span = method.span())
}

fn marker_ident(method: &Ident) -> Ident {
    format_ident!("__vat_{}", plain(method), span = method.span())
}

/// A local variable that no name of the user's can touch.
fn local(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}

/// A local variable for each parameter, whatever its name.
fn locals(params: &[Param]) -> Vec<Ident> {
    (0..params.len())
        .map(|position| local(&format!("parameter_{position}")))
        .collect()
}

/// What a sender takes as `impl Into<_>`: texts and references.
fn converts(owned: &Type) -> bool {
    let text = |path: &syn::TypePath| {
        path.path
            .segments
            .last()
            .is_some_and(|last| last.ident == "String")
    };
    matches!(owned, Type::Path(path) if text(path)) || is_reference(owned)
}
