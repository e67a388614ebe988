//! `#[derive(Event)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Result};

use crate::attributes::{self, EventAttributes};
use crate::shaped;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let EventAttributes { name, version, crate_path } = attributes::event(input)?;
    let shaped = shaped::implementation(input, &crate_path)?;
    let ident = &input.ident;
    Ok(quote! {
        #shaped

        #[automatically_derived]
        impl #crate_path::Event for #ident {
            const NAME: &'static str = #name;
            const VERSION: u16 = #version;

            #[inline]
            fn encode(
                &self,
                out: &mut [u8],
            ) -> ::core::result::Result<usize, #crate_path::DecodeError> {
                #crate_path::event::encode(self, out, #name)
            }

            #[inline]
            fn view(
                bytes: #crate_path::Verified<&[u8]>,
            ) -> ::core::result::Result<&#crate_path::rkyv::Archived<Self>, #crate_path::DecodeError> {
                #crate_path::event::view(bytes, #name)
            }
        }
    })
}
