//! A run of `bench` as a page of HTML that stands for itself: no script, no font, no picture from elsewhere.
//!
//! ```text
//!  Measured ──► charts (what is shown, on which scale) ──► plot: lines, rows ──► html ──► one file
//!      └──────► summary (the figures people ask for) ──► terminal, top of the page
//! ```
//!
//! Scales and order are fixed here, not by the data, so that two pages can be laid side by side.

pub(crate) mod charts;
pub(crate) mod figure;
pub(crate) mod html;
pub(crate) mod plot;
pub(crate) mod read;
pub(crate) mod scale;
pub(crate) mod summary;
pub(crate) mod table;
