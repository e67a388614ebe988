//! The event types of a flow, and the numbers that a log gives them.

use std::any::TypeId;

use downbeat_record::{Contract, Event, Kind};

use crate::context::StageId;

/// An event type as a value: what a flow remembers about each type it is declared with.
#[derive(Clone, Copy, Debug)]
pub struct EventType {
    /// The Rust type.
    pub type_id: TypeId,
    /// Its contract's name.
    pub name: &'static str,
    /// Its contract's version.
    pub version: u16,
    contract: fn() -> Contract,
}

impl EventType {
    /// The event type `E`.
    pub fn of<E: Event>() -> Self {
        Self { type_id: TypeId::of::<E>(), name: E::NAME, version: E::VERSION, contract: Contract::of::<E> }
    }

    /// A type that has the name and version of another one: in a log they could not be told apart.
    pub fn clash(types: &[Self]) -> Option<Self> {
        let same = |one: &Self, other: &Self| {
            (one.name, one.version) == (other.name, other.version) && one.type_id != other.type_id
        };
        types
            .iter()
            .enumerate()
            .find(|(index, one)| types[..*index].iter().any(|other| same(one, other)))
            .map(|(_, one)| *one)
    }

    /// Its contract: what is written into the log.
    pub fn contract(&self) -> Contract {
        (self.contract)()
    }
}

/// The numbers of a flow's event types in one log, and who sends what.
#[derive(Clone, Default)]
pub struct Kinds {
    pub(crate) kinds: Vec<(TypeId, Kind)>,
    pub(crate) outputs: Vec<TypeId>,
    pub(crate) names: Vec<String>,
    pub(crate) rejected: Kind,
}

impl Kinds {
    /// The number of this type.
    #[inline]
    pub fn of(&self, type_id: TypeId) -> Option<Kind> {
        self.kinds.iter().find(|(id, _)| *id == type_id).map(|(_, kind)| *kind)
    }

    #[inline]
    pub(crate) fn output_of(&self, stage: StageId) -> Option<TypeId> {
        self.outputs.get(usize::from(stage.0)).copied()
    }

    #[inline]
    pub(crate) fn name_of(&self, stage: StageId) -> Option<&str> {
        self.names.get(usize::from(stage.0)).map(String::as_str)
    }
}
