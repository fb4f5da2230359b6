//! From the tokens of a trait to the model, with every error at its token.

use proc_macro2::{Ident, Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, FnArg, GenericArgument, ItemTrait, LitInt, LitStr, Pat, Path, PathArguments,
    Receiver, ReceiverKind, ReturnType, Signature, TraitItem, TraitItemFn, Type, TypeParamBound,
};

use super::model::{Form, Interface, Method, Param};
use crate::attributes::{Errors, doc};
use crate::data::{check_type, default_crate, explicit_id, is_reference};
use crate::names;

/// How many parameters come before the method's own: `&self, turn`, or `this, cx`.
const CONTEXT: usize = 2;

/// Reads the trait. `None` if so much is wrong that nothing can be said.
pub(crate) fn interface(
    arguments: TokenStream,
    item: &ItemTrait,
    errors: &mut Errors,
) -> Option<Interface> {
    let arguments = Arguments::read(arguments, errors);
    refuse_shapes(item, errors);
    let extends = extends(item, errors);
    let mut emitted = item.clone();
    let mut methods = Vec::new();
    for member in &mut emitted.items {
        match member {
            TraitItem::Fn(function) => methods.extend(method(function, errors)),
            other => errors.at(other, "an interface has methods only"),
        }
    }
    let (name, span) = arguments
        .name
        .clone()
        .unwrap_or_else(|| (names::full_name(&item.ident), item.ident.span()));
    errors.keep(names::check_type(&name, span));
    Some(Interface {
        ident: item.ident.clone(),
        vis: item.vis.clone(),
        krate: arguments.krate,
        id: arguments.id.unwrap_or_else(|| names::id_of(&name)),
        name,
        doc: doc(&item.attrs),
        extends,
        methods,
        item: emitted,
    })
}

/// `#[vat::interface(name = …, id = …, crate = …)]`.
struct Arguments {
    krate: Path,
    name: Option<(String, Span)>,
    id: Option<u64>,
}

impl Arguments {
    fn read(arguments: TokenStream, errors: &mut Errors) -> Self {
        let mut read = Self {
            krate: default_crate(),
            name: None,
            id: None,
        };
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("crate") {
                read.krate = meta.value()?.parse::<LitStr>()?.parse()?;
            } else if meta.path.is_ident("name") {
                let name: LitStr = meta.value()?.parse()?;
                read.name = Some((name.value(), name.span()));
            } else if meta.path.is_ident("id") {
                let literal: LitInt = meta.value()?.parse()?;
                read.id = Some(explicit_id(&literal)?);
            } else {
                let message = "unknown; an interface takes `name = \"package::Name\"`, `id = 0x…` \
                               and `crate = \"…\"`";
                return Err(meta.error(message));
            }
            Ok(())
        });
        errors.keep(parser.parse2(arguments));
        read
    }
}

fn refuse_shapes(item: &ItemTrait, errors: &mut Errors) {
    if !item.generics.params.is_empty() || item.generics.where_clause.is_some() {
        let message = "an interface cannot be generic: what is on the wire has one type; write one \
                       interface per type, or use `Ref` for references of any interface";
        errors.at(&item.generics, message);
    }
    if item.unsafety.is_some() || item.modifiers.auto_token.is_some() {
        errors.at(&item.ident, "an interface is a plain trait");
    }
}

/// The one interface that may stand behind the colon.
fn extends(item: &ItemTrait, errors: &mut Errors) -> Option<Path> {
    let mut bounds = item.supertraits.iter();
    let first = bounds.next()?;
    if let Some(second) = bounds.next() {
        errors.at(
            second,
            "an interface can extend one other; put the rest into references",
        );
    }
    match first {
        TypeParamBound::Trait(bound)
            if bound.lifetimes.is_none()
                && bound
                    .path
                    .segments
                    .iter()
                    .all(|part| part.arguments.is_none()) =>
        {
            Some(bound.path.clone())
        }
        other => {
            errors.at(
                other,
                "an interface can extend another interface, and nothing else",
            );
            None
        }
    }
}

/// Reads a method and turns it into the form in which it is emitted.
fn method(function: &mut TraitItemFn, errors: &mut Errors) -> Option<Method> {
    refuse_attributes(function, errors);
    let ident = function.sig.ident.clone();
    if ident == "new" {
        let message = "`new` would hide the constructor of the reference type; use another name";
        errors.at(&ident, message);
    }
    refuse_signature(&function.sig, errors);
    let form = form(&function.sig, errors)?;
    let context = context(&function.sig, form, errors)?;
    let params = function
        .sig
        .inputs
        .iter_mut()
        .skip(CONTEXT)
        .filter_map(|argument| param(argument, form, errors))
        .collect();
    let returns = returns(&function.sig, errors)?;
    let output = output(&returns, errors)?;
    check_type(&output, errors);
    let read = Method {
        name: errors.keep(names::lower_camel(&ident)).unwrap_or_default(),
        ident,
        doc: doc(&function.attrs),
        attributes: kept_by_sender(&function.attrs),
        form,
        cancellable: cancellable(function, form, &output, errors),
        params,
        context,
        returns,
        output,
    };
    if form == Form::Async {
        make_future(function, &read, errors);
    }
    Some(read)
}

fn refuse_attributes(function: &TraitItemFn, errors: &mut Errors) {
    for attribute in &function.attrs {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            let message = "a method's position is its number on the wire, which must not depend on \
                           how the program is built";
            errors.at(attribute, message);
        }
    }
}

/// Takes `#[cancellable]` off a method that has it.
fn cancellable(function: &mut TraitItemFn, form: Form, output: &Type, errors: &mut Errors) -> bool {
    let is_it = |attribute: &Attribute| attribute.path().is_ident("cancellable");
    let Some(at) = function.attrs.iter().position(is_it) else {
        return false;
    };
    let attribute = function.attrs.remove(at);
    if form != Form::Async {
        let message = "only an `async` method can be cancelled: another one never waits";
        errors.at(&attribute, message);
    } else if is_reference(output) {
        let message = "a method that answers one reference cannot be cancelled: its caller has no \
                       promise to cancel, only the reference";
        errors.at(&attribute, message);
    } else {
        errors.keep(attribute.meta.require_path_only());
    }
    true
}

fn refuse_signature(signature: &Signature, errors: &mut Errors) {
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        let message =
            "a method of an interface cannot be generic: what is on the wire has one type";
        errors.at(&signature.generics, message);
    }
    if !matches!(signature.safety, syn::Safety::Default) || signature.constness.is_some() {
        errors.at(
            &signature.ident,
            "a method of an interface is neither `unsafe` nor `const`",
        );
    }
}

fn form(signature: &Signature, errors: &mut Errors) -> Option<Form> {
    const FORMS: &str = "a method begins with `&self, turn: &Turn` or `&mut self, turn: &Turn`, or \
                         is an `async fn` that begins with `this: Near<Self>, cx: &Cx`";
    match (signature.asyncness, signature.inputs.first()) {
        (None, Some(FnArg::Receiver(receiver))) if is_plain_borrow(receiver) => {
            Some(if is_exclusive(receiver) {
                Form::Write
            } else {
                Form::Read
            })
        }
        (Some(_), Some(FnArg::Typed(_))) => Some(Form::Async),
        (Some(_), Some(receiver)) => {
            let message = "an `async` method takes `this: Near<Self>, cx: &Cx`: a borrow of the \
                           object could not live across a wait";
            errors.at(receiver, message);
            None
        }
        (None, Some(first)) => {
            errors.at(first, FORMS);
            None
        }
        (_, None) => {
            errors.at(&signature.ident, FORMS);
            None
        }
    }
}

fn is_plain_borrow(receiver: &Receiver) -> bool {
    matches!(receiver.kind, ReceiverKind::Reference(_, None, _))
}

fn is_exclusive(receiver: &Receiver) -> bool {
    matches!(receiver.kind, ReceiverKind::Reference(_, _, Some(_)))
}

/// The types of `turn`, or of `this` and `cx`.
fn context(signature: &Signature, form: Form, errors: &mut Errors) -> Option<Vec<Type>> {
    let mut types = signature
        .inputs
        .iter()
        .take(CONTEXT)
        .filter_map(|arg| match arg {
            FnArg::Typed(typed) => Some((*typed.ty).clone()),
            FnArg::Receiver(_) => None,
        });
    let (expected, names): (&[&str], &str) = match form {
        Form::Read | Form::Write => (&["Turn"], "`turn: &Turn` after `self`"),
        Form::Async => (&["Near", "Cx"], "`this: Near<Self>, cx: &Cx`"),
    };
    let found: Vec<Type> = types.by_ref().collect();
    let fits = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(ty, name)| is_named(ty, name));
    if !fits {
        errors.at(&signature.inputs, format!("a method takes {names}"));
        return None;
    }
    Some(found)
}

fn is_named(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Reference(reference) => is_named(&reference.elem, name),
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == name),
        _ => false,
    }
}

/// Reads a parameter and takes its `#[default(…)]` and doc comment off it.
fn param(argument: &mut FnArg, form: Form, errors: &mut Errors) -> Option<Param> {
    let FnArg::Typed(typed) = argument else {
        errors.at(argument, "`self` comes first");
        return None;
    };
    let doc = doc(&typed.attrs);
    let default = default_of(&typed.attrs, errors);
    typed
        .attrs
        .retain(|attr| !attr.path().is_ident("doc") && !attr.path().is_ident("default"));
    let Pat::Ident(pattern) = &*typed.pat else {
        errors.at(
            &typed.pat,
            "a parameter of an interface has a name: it is part of the wire",
        );
        return None;
    };
    if let Some(mutability) = &pattern.mutability {
        errors.at(mutability, "`mut` belongs into the implementation");
    }
    let declared = (*typed.ty).clone();
    let owned = owned(&declared, form, errors)?;
    Some(Param {
        ident: pattern.ident.clone(),
        declared,
        owned,
        doc,
        default,
    })
}

fn default_of(attributes: &[Attribute], errors: &mut Errors) -> Option<Expr> {
    let attribute = attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("default"))?;
    errors.keep(attribute.parse_args())
}

/// `&str` is kept as `String`; other borrows have no owned form here.
fn owned(declared: &Type, form: Form, errors: &mut Errors) -> Option<Type> {
    let Type::Reference(reference) = declared else {
        check_type(declared, errors);
        return Some(declared.clone());
    };
    let text = is_named(&reference.elem, "str");
    match (text, form) {
        (true, Form::Read | Form::Write) if reference.mutability.is_none() => {
            Some(syn::parse_quote_spanned!(declared.span()=> ::std::string::String))
        }
        (true, _) => {
            let message = "an `async` method owns its parameters, as it outlives the message: use \
                           `String`";
            errors.at(declared, message);
            None
        }
        (false, _) => {
            check_type(declared, errors);
            None
        }
    }
}

fn returns(signature: &Signature, errors: &mut Errors) -> Option<Type> {
    match &signature.output {
        ReturnType::Type(_, ty) => Some((**ty).clone()),
        ReturnType::Default => {
            let message = "a method gives `Result<T>`, as every call can fail: `-> Result<()>`";
            errors.at(&signature.ident, message);
            None
        }
    }
}

/// `Result<T, E>` → `T`; `Result<Promise<T>, E>` → `T`.
fn output(returns: &Type, errors: &mut Errors) -> Option<Type> {
    let Some(value) = argument_of(returns, "Result") else {
        errors.at(
            returns,
            "a method gives `Result<T>`, as every call can fail",
        );
        return None;
    };
    Some(argument_of(value, "Promise").unwrap_or(value).clone())
}

/// The first type argument, if the type has this name.
fn argument_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    if last.ident != name {
        return None;
    }
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// What the sender repeats.
fn kept_by_sender(attributes: &[Attribute]) -> Vec<Attribute> {
    let kept = |attribute: &&Attribute| {
        attribute.path().is_ident("doc") || attribute.path().is_ident("deprecated")
    };
    attributes.iter().filter(kept).cloned().collect()
}

/// `async fn f(..) -> R` → `fn f(..) -> impl Future<Output = R> where Self: Sized`, so that the
/// trait can be a trait object and that implementors write `async fn`.
fn make_future(function: &mut TraitItemFn, method: &Method, errors: &mut Errors) {
    if let Some(body) = &function.default {
        errors.at(
            body,
            "an `async` method of an interface has no body in the trait",
        );
    }
    let returns = &method.returns;
    let signature = &mut function.sig;
    signature.asyncness = None;
    signature.output = syn::parse_quote_spanned! {returns.span()=>
        -> impl ::core::future::Future<Output = #returns>
    };
    let predicates = &mut signature.generics.make_where_clause().predicates;
    predicates.push(syn::parse_quote!(Self: ::core::marker::Sized));
}

/// The name without a raw prefix, for names derived from it.
pub(crate) fn plain(ident: &Ident) -> String {
    ident.unraw().to_string()
}
