//! `#[derive(vat::Object)]`: types whose values live in a vat.

use proc_macro2::TokenStream;
use quote::quote;
use syn::visit::{Visit, visit_path_segment};
use syn::{DeriveInput, Field, LitInt, LitStr, Path, PathSegment};

use crate::attributes::{Errors, fields};
use crate::data::default_crate;

/// Expands the derive.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let options = Options::read(input, &mut errors);
    if !options.external {
        for field in fields(&input.data) {
            refuse_shared_state(field, &mut errors);
        }
    }
    let expanded = expand(input, &options);
    if errors.is_empty() {
        expanded
    } else {
        errors.to_tokens()
    }
}

/// `#[object(external, crate = "…")]`, `#[object(durable = "…", version = 2, migrate = path)]`.
struct Options {
    external: bool,
    durable: Option<LitStr>,
    version: Option<LitInt>,
    migrate: Option<Path>,
    krate: Path,
}

impl Options {
    fn read(input: &DeriveInput, errors: &mut Errors) -> Self {
        let mut read = Self {
            external: false,
            durable: None,
            version: None,
            migrate: None,
            krate: default_crate(),
        };
        for attribute in input.attrs.iter().filter(|a| a.path().is_ident("object")) {
            let parsed = attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("external") {
                    read.external = true;
                } else if meta.path.is_ident("durable") {
                    read.durable = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("version") {
                    read.version = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("migrate") {
                    read.migrate = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("crate") {
                    read.krate = meta.value()?.parse::<LitStr>()?.parse()?;
                } else {
                    return Err(meta.error(
                        "unknown; an object may be `external`, or `durable = \"package.Type\"` with \
                         `version = 2` and `migrate = function`",
                    ));
                }
                Ok(())
            });
            errors.keep(parsed);
        }
        read.check(errors);
        read
    }

    fn check(&self, errors: &mut Errors) {
        match &self.durable {
            Some(name) if self.external => errors.at(
                name,
                "an object that stands for something outside of the vat cannot be kept on disk",
            ),
            Some(name) if name.value().trim().is_empty() => {
                errors.at(
                    name,
                    "a durable type needs a name, like `\"guestbook.Book\"`",
                );
            }
            Some(_) => {}
            None => {
                let needs_name =
                    "only a durable type has one: say `durable = \"package.Type\"` too";
                if let Some(version) = &self.version {
                    errors.at(version, needs_name);
                }
                if let Some(migrate) = &self.migrate {
                    errors.at(migrate, needs_name);
                }
            }
        }
    }
}

/// State that copies share does not come back with the old copy.
fn refuse_shared_state(field: &Field, errors: &mut Errors) {
    let mut found = Shared::default();
    found.visit_type(&field.ty);
    for segment in found.0 {
        let name = &segment.ident;
        let message = format!(
            "`{name}` is shared by all copies of the object, so a failed turn could not bring its \
             old content back; keep the value itself here, put what is shared into an object of \
             its own and hold a `Near` to it, or make this object `#[object(external)]`"
        );
        errors.at(segment, message);
    }
}

#[derive(Default)]
struct Shared(Vec<PathSegment>);

impl<'a> Visit<'a> for Shared {
    fn visit_path_segment(&mut self, segment: &'a PathSegment) {
        const NAMES: [&str; 8] = [
            "Rc",
            "Cell",
            "RefCell",
            "OnceCell",
            "Mutex",
            "RwLock",
            "OnceLock",
            "UnsafeCell",
        ];
        let name = segment.ident.to_string();
        if NAMES.contains(&name.as_str()) || name.starts_with("Atomic") {
            self.0.push(segment.clone());
        }
        visit_path_segment(self, segment);
    }
}

fn expand(input: &DeriveInput, options: &Options) -> TokenStream {
    let Options {
        external, krate, ..
    } = options;
    let ident = &input.ident;
    let (impl_generics, types, wheres) = input.generics.split_for_impl();
    let transactional = !external;
    let old_state = if *external {
        quote!(::core::option::Option::None)
    } else {
        quote!(::core::option::Option::Some(::core::clone::Clone::clone(
            self
        )))
    };
    let kind = options.durable.as_ref().map(|_| {
        quote! {
            const DURABLE: ::core::option::Option<#krate::__private::Kind<Self>> =
                ::core::option::Option::Some(#krate::__private::Kind::of());
        }
    });
    let durable = options.durable.as_ref().map(|name| {
        let version = options.version.iter();
        let migrate = options.migrate.iter();
        quote! {
            impl #impl_generics #krate::durable::Durable for #ident #types #wheres {
                const NAME: &'static str = #name;
                #(const VERSION: u32 = #version;)*
                #(
                    fn migrate(old: #krate::durable::Old<'_>) -> #krate::Result<Self> {
                        #migrate(old)
                    }
                )*
            }
        }
    });
    // Two impls that overlap if the type has a destructor: the compiler then says so.
    let no_drop = transactional.then(|| {
        quote! {
            trait MustNotImplementDrop {}
            #[allow(drop_bounds, reason = "to find types that implement it")]
            impl<Type: ::core::ops::Drop> MustNotImplementDrop for Type {}
            impl #impl_generics MustNotImplementDrop for #ident #types #wheres {}
        }
    });
    quote! {
        #[automatically_derived]
        const _: () = {
            impl #impl_generics #krate::__private::Object for #ident #types #wheres {
                const TRANSACTIONAL: bool = #transactional;
                #kind

                fn old_state(&self) -> ::core::option::Option<Self> {
                    #old_state
                }
            }

            #durable

            #no_drop
        };
    }
}
