//! Describing a flow, part by part, and checking the description.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use downbeat_record::Event;

use crate::cell::Cell;
use crate::command::source_of;
use crate::context::StageId;
use crate::contracts::EventType;
use crate::events::Nothing;
use crate::flow::{Flow, LeafDef, STAGES_MAX, StageDef};
use crate::leaf::Leaf;
use crate::stage::Stage;

/// What is wrong with the description of a flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// Two parts have one name.
    #[error("two parts of the flow are named `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// A part comes after something that is not declared before it.
    #[error("`{part}` comes after `{missing}`, which is not declared before it")]
    NotBefore {
        /// The part.
        part: String,
        /// What it names.
        missing: String,
    },
    /// The names of two stages, of which one or both may be retired, give the same number in the header of what they emit.
    #[error("stages `{one}` and `{other}` cannot be told apart in a log; rename the newer one")]
    SameSource {
        /// One.
        one: String,
        /// The other.
        other: String,
    },
    /// Two event types have one contract.
    #[error("two event types are `{name}` v{version}; give one of them another name")]
    SameContract {
        /// The name.
        name: &'static str,
        /// The version.
        version: u16,
    },
    /// A stage that nothing would ever reach.
    #[error("stage `{stage}` is on no event and after no stage: nothing would reach it")]
    Unreachable {
        /// The stage.
        stage: String,
    },
    /// A leaf that nothing would ever reach.
    #[error("leaf `{leaf}` is after no stage: nothing would reach it")]
    LeafUnreachable {
        /// The leaf.
        leaf: String,
    },
    /// A part waits for a stage that sends nothing.
    #[error("`{part}` comes after `{stage}`, which sends nothing")]
    SendsNothing {
        /// The part.
        part: String,
        /// The stage.
        stage: String,
    },
    /// More stages than fit.
    #[error("the flow has more than {STAGES_MAX} stages")]
    TooMany,
    /// A group with keyed stages and others.
    #[error("group `{group}` holds keyed and global stages: they cannot be in one place")]
    MixedGroup {
        /// The group.
        group: String,
    },
    /// Two groups wait for each other.
    #[error("group `{group}` would wait for itself: a stage outside it stands between two of its stages")]
    GroupCycle {
        /// The group.
        group: String,
    },
    /// A qualifier that follows no part it could belong to.
    #[error("`{what}` does not follow a {expected}")]
    Misplaced {
        /// The qualifier.
        what: &'static str,
        /// What it belongs to.
        expected: &'static str,
    },
}

enum Last {
    None,
    Stage,
    Leaf,
}

/// Describes a flow, part by part; what follows a part qualifies it.
pub struct FlowBuilder {
    name: String,
    stages: Vec<StageDef>,
    leaves: Vec<LeafDef>,
    retired: Vec<String>,
    last: Last,
    errors: Option<FlowError>,
}

impl FlowBuilder {
    pub(crate) fn new(name: String) -> Self {
        let (stages, leaves, retired) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, stages, leaves, retired, last: Last::None, errors: None }
    }

    /// Adds a stage. It is keyed: it has one state per key, and may run in shards.
    #[must_use]
    pub fn stage<S: Stage>(mut self, name: &str, stage: S) -> Self {
        self.claim(name);
        let logic = Arc::new(stage);
        self.stages.push(StageDef {
            name: name.into(),
            id: StageId(self.stages.len() as u16),
            after: Vec::new(),
            on: Vec::new(),
            emits: Vec::new(),
            output: EventType::of::<S::Output>(),
            keyed: true,
            group: name.to_owned(),
            make: Box::new(move |def| {
                let emits = def.emits.iter().map(|one| one.type_id).collect();
                Box::new(Cell::new(logic.clone(), def, emits))
            }),
        });
        self.last = Last::Stage;
        self
    }

    /// Says that the flow had a stage of this name, and has it no longer. What a log holds of it is left as it is; without this,
    /// such a log is refused. A stage under a new name is another stage: it begins with the first event of the log, and
    /// emits for all of it.
    #[must_use]
    pub fn retired(mut self, name: &str) -> Self {
        self.claim(name);
        self.retired.push(name.to_owned());
        self.last = Last::None;
        self
    }

    /// Adds a leaf.
    #[must_use]
    pub fn leaf(mut self, name: &str, leaf: impl Leaf) -> Self {
        self.claim(name);
        self.leaves.push(LeafDef {
            name: name.into(),
            after: Vec::new(),
            leaf: Mutex::new(Some(Box::new(leaf))),
        });
        self.last = Last::Leaf;
        self
    }

    /// The stage applies every event of type `E`.
    #[must_use]
    pub fn on<E: Event>(mut self) -> Self {
        self.qualify("on", |stage| stage.on.push(EventType::of::<E>()));
        self
    }

    /// The stage may emit events of type `E`.
    #[must_use]
    pub fn emits<E: Event>(mut self) -> Self {
        self.qualify("emits", |stage| stage.emits.push(EventType::of::<E>()));
        self
    }

    /// The stage has one state for all keys and runs in one place: for totals and other things that concern
    /// every entity.
    #[must_use]
    pub fn global(mut self) -> Self {
        self.qualify("global", |stage| stage.keyed = false);
        self
    }

    /// The stage runs in one actor with the other stages of this group: a hop between them costs a few
    /// nanoseconds, and they share one core.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.qualify("group", |stage| group.clone_into(&mut stage.group));
        self
    }

    /// The part gets the values that these stages send. For each event it waits until all of them have passed
    /// it, so what it sees does not depend on who was faster.
    #[must_use]
    pub fn after<const N: usize>(mut self, stages: [&str; N]) -> Self {
        let leaf = matches!(self.last, Last::Leaf);
        let part = match self.last {
            Last::Leaf => self.leaves.last().map(|leaf| leaf.name.to_string()),
            Last::Stage => self.stages.last().map(|stage| stage.name.to_string()),
            Last::None => None,
        };
        let Some(part) = part else {
            self.fail(FlowError::Misplaced { what: "after", expected: "stage or leaf" });
            return self;
        };
        for name in stages {
            let before = self.stages.len() - usize::from(!leaf);
            let Some(found) = self.stages[..before].iter().find(|stage| &*stage.name == name) else {
                self.fail(FlowError::NotBefore { part: part.clone(), missing: name.to_owned() });
                continue;
            };
            if found.output.type_id == TypeId::of::<Nothing>() {
                self.fail(FlowError::SendsNothing { part: part.clone(), stage: name.to_owned() });
                continue;
            }
            let id = found.id;
            let after = match self.last {
                Last::Leaf => self.leaves.last_mut().map(|leaf| &mut leaf.after),
                _ => self.stages.last_mut().map(|stage| &mut stage.after),
            };
            if let Some(after) = after.filter(|after| !after.contains(&id)) {
                after.push(id);
            }
        }
        self
    }

    /// Checks the description.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn build(self) -> Result<Flow, FlowError> {
        if let Some(error) = self.errors {
            return Err(error);
        }
        if self.stages.len() > STAGES_MAX {
            return Err(FlowError::TooMany);
        }
        if let Some(stage) = self.stages.iter().find(|stage| stage.on.is_empty() && stage.after.is_empty()) {
            return Err(FlowError::Unreachable { stage: stage.name.to_string() });
        }
        if let Some(leaf) = self.leaves.iter().find(|leaf| leaf.after.is_empty()) {
            return Err(FlowError::LeafUnreachable { leaf: leaf.name.to_string() });
        }
        let stages = self.stages.iter().map(|stage| &*stage.name);
        let sources: Vec<&str> = stages.chain(self.retired.iter().map(String::as_str)).collect();
        for (index, one) in sources.iter().enumerate() {
            let same = |other: &&&str| source_of(other) == source_of(one);
            if let Some(other) = sources[index + 1..].iter().find(same) {
                return Err(FlowError::SameSource { one: (*one).to_owned(), other: (*other).to_owned() });
            }
        }
        let groups = group(&self.stages)?;
        let Self { name, stages, leaves, retired, .. } = self;
        let flow = Flow { name, stages, leaves, retired, groups };
        match EventType::clash(&flow.event_types()) {
            Some(EventType { name, version, .. }) => Err(FlowError::SameContract { name, version }),
            None => Ok(flow),
        }
    }

    fn claim(&mut self, name: &str) {
        let stages = self.stages.iter().map(|stage| &*stage.name);
        let others =
            self.leaves.iter().map(|leaf| &*leaf.name).chain(self.retired.iter().map(String::as_str));
        if stages.chain(others).any(|known| known == name) {
            self.fail(FlowError::SameName { name: name.to_owned() });
        }
    }

    fn qualify(&mut self, what: &'static str, change: impl FnOnce(&mut StageDef)) {
        match (&self.last, self.stages.last_mut()) {
            (Last::Stage, Some(stage)) => change(stage),
            _ => self.fail(FlowError::Misplaced { what, expected: "stage" }),
        }
    }

    fn fail(&mut self, error: FlowError) {
        self.errors.get_or_insert(error);
    }
}

/// The groups in an order in which each comes after those it waits for.
fn group(stages: &[StageDef]) -> Result<Vec<Vec<StageId>>, FlowError> {
    let mut members: BTreeMap<&str, Vec<StageId>> = BTreeMap::new();
    for stage in stages {
        members.entry(&stage.group).or_default().push(stage.id);
    }
    let group_of = |id: &StageId| stages[usize::from(id.0)].group.as_str();
    for (group, ids) in &members {
        if ids.iter().any(|id| stages[usize::from(id.0)].keyed != stages[usize::from(ids[0].0)].keyed) {
            return Err(FlowError::MixedGroup { group: (*group).to_owned() });
        }
    }
    let waits: BTreeMap<&str, BTreeSet<&str>> = members
        .iter()
        .map(|(group, ids)| {
            let before = ids.iter().flat_map(|id| &stages[usize::from(id.0)].after).map(group_of);
            (*group, before.filter(|other| other != group).collect())
        })
        .collect();
    let (mut ordered, mut done) = (Vec::new(), BTreeSet::new());
    while done.len() < members.len() {
        // By declaration, so that the order is that of the description wherever it can be.
        let next = stages
            .iter()
            .map(|stage| stage.group.as_str())
            .find(|group| !done.contains(group) && waits[group].iter().all(|other| done.contains(other)));
        let Some(next) = next else {
            let stuck = members.keys().find(|group| !done.contains(*group)).copied().unwrap_or_default();
            return Err(FlowError::GroupCycle { group: stuck.to_owned() });
        };
        done.insert(next);
        ordered.push(members[next].clone());
    }
    Ok(ordered)
}
