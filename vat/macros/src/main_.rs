//! `#[vat::main]`: an async function becomes a vat program.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemFn, LitStr, Path};

use crate::attributes::Errors;
use crate::data::default_crate;

const FORM: &str = "a program's main is `async fn main(cx: &Cx, granted: Granted) -> Result<…>`";

/// Expands the attribute.
pub(crate) fn main(arguments: TokenStream, mut function: ItemFn) -> TokenStream {
    let mut errors = Errors::default();
    let krate = krate(arguments, &mut errors);
    check(&function, &mut errors);
    if !errors.is_empty() {
        return errors.to_tokens();
    }
    let params = function.sig.inputs.len();
    let span = function.sig.inputs.span();
    let entry = Ident::new("vat_main", function.sig.ident.span());
    function.sig.ident = entry.clone();
    let wrapped = match params {
        1 => quote_spanned! {span=>
            #krate::__private::Main::new(async |cx: &#krate::Cx, (): ()| #entry(cx).await)
        },
        2 => quote_spanned!(span=> #krate::__private::Main::new(#entry)),
        _ => quote_spanned!(span=> #krate::__private::Main::with_args(#entry)),
    };
    quote! {
        #function

        fn main() -> ::std::process::ExitCode {
            #krate::__private::program_main(|| #wrapped)
        }
    }
}

fn krate(arguments: TokenStream, errors: &mut Errors) -> Path {
    let mut krate = default_crate();
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("crate") {
            krate = meta.value()?.parse::<LitStr>()?.parse()?;
            return Ok(());
        }
        Err(meta.error("unknown; `main` takes `crate = \"…\"` and nothing else"))
    });
    errors.keep(syn::parse::Parser::parse2(parser, arguments));
    krate
}

fn check(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        errors.at(signature.fn_token, format!("{FORM}: it is `async`"));
    }
    if !signature.generics.params.is_empty() {
        errors.at(&signature.generics, format!("{FORM}: it is not generic"));
    }
    if !(1..=3).contains(&signature.inputs.len()) {
        let message = format!("{FORM}; it may take `args: Vec<String>` as well");
        errors.at(&signature.ident, message);
    }
    if matches!(signature.output, syn::ReturnType::Default) {
        errors.at(&signature.ident, format!("{FORM}: it gives a `Result`"));
    }
}
