//! A flow: stages and leaves, who comes after whom, and which run together.
//!
//! A stage may come only after stages declared before it, so the graph has no cycle by construction. Stages of
//! one group run to completion in one actor; the groups, seen as single nodes, must have no cycle either.

use std::sync::{Arc, Mutex, PoisonError};

use downbeat_record::{Contract, Kind};

use crate::builder::FlowBuilder;
use crate::cell::AnyStage;
use crate::context::StageId;
use crate::contracts::{EventType, Kinds};
use crate::events::Rejected;
use crate::leaf::Leaf;
use crate::out::Outbox;
use crate::rows::Rows;
use crate::unit::{Before, Running, Shards, Unit};

/// The most stages a flow may have.
pub const STAGES_MAX: usize = 64;

pub(crate) type MakeCell = dyn Fn(&StageDef) -> Box<dyn AnyStage> + Send + Sync;

/// A stage as it was declared.
pub struct StageDef {
    /// Its name.
    pub name: Arc<str>,
    /// Its number.
    pub id: StageId,
    /// The stages it comes after.
    pub after: Vec<StageId>,
    /// The event types it is on.
    pub on: Vec<EventType>,
    /// The event types it emits.
    pub emits: Vec<EventType>,
    /// The type of the values it sends.
    pub output: EventType,
    /// Whether its state is per key; otherwise it has one state, and runs in one place.
    pub keyed: bool,
    /// The group it runs in; its own when it was put in none.
    pub group: String,
    pub(crate) make: Box<MakeCell>,
}

/// A leaf as it was declared.
pub struct LeafDef {
    /// Its name.
    pub name: Arc<str>,
    /// The stages whose values it gets.
    pub after: Vec<StageId>,
    pub(crate) leaf: Mutex<Option<Box<dyn Leaf>>>,
}

impl LeafDef {
    /// Takes out what delivers, to run it: once.
    ///
    /// # Panics
    ///
    /// When it was taken before: a flow runs once.
    pub fn take(&self) -> Box<dyn Leaf> {
        self.leaf.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a leaf runs once")
    }
}

/// A flow that was checked.
pub struct Flow {
    pub(crate) name: String,
    pub(crate) stages: Vec<StageDef>,
    pub(crate) leaves: Vec<LeafDef>,
    pub(crate) retired: Vec<String>,
    pub(crate) groups: Vec<Vec<StageId>>,
}

impl Flow {
    /// Starts the description of a flow.
    ///
    /// ```
    /// use downbeat_flow::{Context, Flow, Nothing, Out, Reject, Stage};
    /// use downbeat_record::{Event, rkyv};
    ///
    /// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    /// #[event(name = "bank.Deposited", version = 1)]
    /// struct Deposited {
    ///     cents: i64,
    /// }
    ///
    /// struct Balance;
    ///
    /// impl Stage for Balance {
    ///     type State = i64;
    ///     type Output = Nothing;
    ///
    ///     fn apply(
    ///         &self,
    ///         balance: &mut i64,
    ///         event: &Context<'_>,
    ///         _: &mut Out<'_, Nothing>,
    ///     ) -> Result<(), Reject> {
    ///         if let Some(deposit) = event.event::<Deposited>()? {
    ///             *balance = balance.checked_add(deposit.cents.to_native()).ok_or(Reject::new("overflow"))?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let flow = Flow::named("bank").stage("balance", Balance).on::<Deposited>().build()?;
    /// assert_eq!(flow.stages().len(), 1);
    /// # Ok::<(), downbeat_flow::FlowError>(())
    /// ```
    pub fn named(name: impl Into<String>) -> FlowBuilder {
        FlowBuilder::new(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its stages, in the order of declaration.
    pub fn stages(&self) -> &[StageDef] {
        &self.stages
    }

    /// Its leaves, in the order of declaration.
    pub fn leaves(&self) -> &[LeafDef] {
        &self.leaves
    }

    /// The names of stages that it had and has no longer.
    pub fn retired(&self) -> &[String] {
        &self.retired
    }

    /// The groups of stages that run together, each in the order of declaration.
    pub fn groups(&self) -> &[Vec<StageId>] {
        &self.groups
    }

    /// A stage by its number.
    pub fn stage(&self, id: StageId) -> &StageDef {
        &self.stages[usize::from(id.0)]
    }

    /// Every event type that the flow reads or emits, each once, in a fixed order.
    pub fn event_types(&self) -> Vec<EventType> {
        let mut types: Vec<EventType> = Vec::new();
        let declared = self.stages.iter().flat_map(|stage| stage.on.iter().chain(&stage.emits).copied());
        for one in declared.chain([EventType::of::<Rejected>()]) {
            if !types.iter().any(|known| known.type_id == one.type_id) {
                types.push(one);
            }
        }
        types
    }

    /// Gives the flow's event types the numbers that a log has for them.
    ///
    /// # Errors
    ///
    /// The first error of `number`.
    pub fn bind<E>(&self, mut number: impl FnMut(Contract) -> Result<Kind, E>) -> Result<Arc<Kinds>, E> {
        let mut kinds = Kinds {
            kinds: Vec::new(),
            outputs: self.stages.iter().map(|stage| stage.output.type_id).collect(),
            names: self.stages.iter().map(|stage| stage.name.to_string()).collect(),
            rejected: Kind::default(),
        };
        for one in self.event_types() {
            let kind = number(one.contract())?;
            if one.type_id == std::any::TypeId::of::<Rejected>() {
                kinds.rejected = kind;
            }
            kinds.kinds.push((one.type_id, kind));
        }
        Ok(Arc::new(kinds))
    }

    /// A unit of some of the stages, with empty states.
    pub fn unit(&self, members: &[StageId], shards: Shards, kinds: &Arc<Kinds>) -> Unit {
        let mut places: [Option<u8>; STAGES_MAX] = [None; STAGES_MAX];
        for (place, id) in members.iter().enumerate() {
            places[usize::from(id.0)] = Some(place as u8);
        }
        let mut on: Vec<u64> = Vec::new();
        let mut fed = [0; STAGES_MAX];
        let mut keyed = 0;
        let before = |id: &StageId| Before { id: *id, place: places[usize::from(id.0)] };
        let stages = members.iter().enumerate().map(|(place, id)| {
            let def = self.stage(*id);
            for one in &def.on {
                let Some(kind) = kinds.of(one.type_id) else { continue };
                let kind = usize::from(kind.0);
                if on.len() <= kind {
                    on.resize(kind + 1, 0);
                }
                on[kind] |= 1 << place;
            }
            for before in &def.after {
                fed[usize::from(before.0)] |= 1 << place;
            }
            keyed |= u64::from(def.keyed) << place;
            let after_it = |other: &&StageDef| other.after.contains(id);
            let successors =
                self.stages.iter().filter(after_it).filter_map(|other| places[usize::from(other.id.0)]);
            let elsewhere =
                self.stages.iter().filter(after_it).any(|other| places[usize::from(other.id.0)].is_none());
            let cells = match shards {
                Shards::All(count) if def.keyed => count,
                _ => 1,
            };
            Running {
                id: *id,
                name: def.name.clone(),
                keyed: def.keyed,
                cells: (0..cells).map(|_| (def.make)(def)).collect(),
                after: def.after.iter().map(before).collect(),
                successors: successors.fold(0, |set, place| set | 1 << place),
                exported: elsewhere || self.leaves.iter().any(|leaf| leaf.after.contains(id)),
                outbox: Outbox::new(),
            }
        });
        let stages = stages.collect();
        let parts = if let Shards::All(count) = shards { count } else { 1 };
        Unit {
            stages,
            shards,
            on,
            keyed,
            fed,
            kinds: kinds.clone(),
            rows: (0..parts.max(1)).map(|_| Rows::new()).collect(),
        }
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stages: Vec<_> = self.stages.iter().map(|stage| &*stage.name).collect();
        let leaves: Vec<_> = self.leaves.iter().map(|leaf| &*leaf.name).collect();
        f.debug_struct("Flow")
            .field("name", &self.name)
            .field("stages", &stages)
            .field("leaves", &leaves)
            .finish()
    }
}
