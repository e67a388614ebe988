//! `#[derive(Shaped)]`: the shape of the archived form, and how much a value needs besides its fixed part.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DataEnum, DeriveInput, Error, Field, Fields, Path, Result, Type};

use crate::{attributes, forbidden};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let crate_path = attributes::shaped(input)?;
    implementation(input, &crate_path)
}

pub(crate) fn implementation(input: &DeriveInput, crate_path: &Path) -> Result<TokenStream> {
    forbidden::check_container(input)?;
    let (shape, out_of_line) = match &input.data {
        Data::Struct(data) => {
            check_fields(&data.fields)?;
            (structure(input, &data.fields, crate_path), struct_out_of_line(&data.fields, crate_path))
        }
        Data::Enum(data) if data.variants.is_empty() => {
            return Err(Error::new(input.ident.span(), "an enum without variants has no values"));
        }
        Data::Enum(data) => {
            data.variants.iter().try_for_each(|variant| check_fields(&variant.fields))?;
            (enumeration(input, data, crate_path), enum_out_of_line(data, crate_path))
        }
        Data::Union(data) => {
            return Err(Error::new(data.union_token.span, "the bytes of a union do not say what they mean"));
        }
    };
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #crate_path::Shaped for #ident {
            fn shape() -> #crate_path::Shape {
                #shape
            }

            #[inline]
            fn out_of_line_max(&self) -> usize {
                #out_of_line
            }
        }
    })
}

/// Reports every bad field at once.
fn check_fields(fields: &Fields) -> Result<()> {
    let errors = fields.iter().filter_map(|field| forbidden::check_field(field).err());
    match errors.reduce(|mut all, error| {
        all.combine(error);
        all
    }) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn structure(input: &DeriveInput, fields: &Fields, crate_path: &Path) -> TokenStream {
    let (ident, name) = (&input.ident, text(&input.ident));
    let archived = quote!(<#ident as #crate_path::rkyv::Archive>::Archived);
    let (style, names) = (style(fields), names(fields));
    let shapes = fields.iter().map(|field| field_shape(field, crate_path));
    let members = fields.members();
    quote! {
        #crate_path::shape::layout::structure::<#archived>(
            #name,
            #crate_path::shape::layout::#style,
            ::std::vec![#((#names, ::core::mem::offset_of!(#archived, #members), #shapes)),*],
        )
    }
}

fn enumeration(input: &DeriveInput, data: &DataEnum, crate_path: &Path) -> TokenStream {
    let (ident, name) = (&input.ident, text(&input.ident));
    let variants = data.variants.iter().zip(tags(data)).map(|(variant, tag)| {
        let (name, style, names) = (text(&variant.ident), style(&variant.fields), names(&variant.fields));
        let shapes = variant.fields.iter().map(|field| field_shape(field, crate_path));
        quote! {
            (
                #name,
                { const TAG: u8 = #tag; TAG },
                #crate_path::shape::layout::#style,
                ::std::vec![#((#names, #shapes)),*],
            )
        }
    });
    quote! {
        #crate_path::shape::layout::enumeration::<<#ident as #crate_path::rkyv::Archive>::Archived>(
            #name,
            ::std::vec![#(#variants),*],
        )
    }
}

/// The discriminants as the compiler would number them: one more than the one before, from zero.
fn tags(data: &DataEnum) -> Vec<TokenStream> {
    let (mut base, mut above) = (quote!(0), 0_u32);
    data.variants
        .iter()
        .map(|variant| {
            if let Some((_, given)) = &variant.discriminant {
                (base, above) = (quote!((#given)), 0);
            }
            let steps = proc_macro2::Literal::u32_unsuffixed(above);
            above += 1;
            quote!(#base + #steps)
        })
        .collect()
}

fn struct_out_of_line(fields: &Fields, crate_path: &Path) -> TokenStream {
    let parts = fields.iter().zip(fields.members()).map(|(field, member)| {
        let ty = &field.ty;
        quote_spanned!(at(ty)=> <#ty as #crate_path::Shaped>::out_of_line_max(&self.#member))
    });
    quote!(0 #(+ #parts)*)
}

fn enum_out_of_line(data: &DataEnum, crate_path: &Path) -> TokenStream {
    let arms = data.variants.iter().map(|variant| {
        let ident = &variant.ident;
        let bindings: Vec<Ident> =
            (0..variant.fields.len()).map(|index| format_ident!("field_{index}")).collect();
        let members = variant.fields.members();
        let types = variant.fields.iter().map(|field| &field.ty);
        quote! {
            Self::#ident { #(#members: #bindings),* } =>
                0 #(+ <#types as #crate_path::Shaped>::out_of_line_max(#bindings))*,
        }
    });
    quote!(match self { #(#arms)* })
}

fn field_shape(field: &Field, crate_path: &Path) -> TokenStream {
    let ty = &field.ty;
    quote_spanned!(at(ty)=> <#ty as #crate_path::Shaped>::shape())
}

/// The place of a type, for the error that it is not `Shaped`; names resolve where the derive stands, or `self`
/// would be unknown when the type is written inside another macro.
fn at(ty: &Type) -> Span {
    ty.span().resolved_at(Span::call_site())
}

fn style(fields: &Fields) -> Ident {
    let name = match fields {
        Fields::Named(_) => "NAMED",
        Fields::Unnamed(_) => "POSITIONAL",
        Fields::Unit => "UNIT",
    };
    Ident::new(name, Span::call_site())
}

fn names(fields: &Fields) -> Vec<String> {
    fields
        .iter()
        .enumerate()
        .map(|(index, field)| field.ident.as_ref().map_or_else(|| index.to_string(), text))
        .collect()
}

/// The name without `r#`.
fn text(ident: &Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}
