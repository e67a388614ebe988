//! One file per command.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod inspect;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod tail;
pub(crate) mod verify;
