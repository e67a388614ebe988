//! The flows a program knows by name, and what `run` and `demo` need to know about their input.

use std::path::{Path, PathBuf};

use downbeat::{Engine, Error, Flow, Ticket};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// A flow that the program knows by name.
pub struct Known {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) flow: fn() -> Flow,
    pub(crate) workload: Option<Box<dyn Workload>>,
}

impl Known {
    /// A flow that can be replayed. What `flow` makes is run once; its leaves are not called by a replay.
    pub fn new(name: &'static str, about: &'static str, flow: fn() -> Flow) -> Self {
        Self { name, about, flow, workload: None }
    }

    /// Its events can also be read from a file, so `run` and `demo` know it too.
    #[must_use]
    pub fn with(self, workload: impl Workload + 'static) -> Self {
        Self { workload: Some(Box::new(workload)), ..self }
    }
}

/// The flow of this name.
pub(crate) fn find<'a>(flows: &'a [Known], name: &str) -> Result<&'a Known, Failure> {
    flows.iter().find(|known| known.name == name).ok_or_else(|| {
        let names: Vec<_> = flows.iter().map(|known| format!("{} ({})", known.name, known.about)).collect();
        Failure::usage(format_args!("there is no flow `{name}`; this program knows {}", names.join(", ")))
    })
}

/// What `run` and `demo` need of a flow besides the flow.
pub trait Workload {
    /// The flow for a live run: its leaf tells the outside, in this file.
    fn live_flow(&self, notifications: Option<PathBuf>) -> Flow;

    /// Reads all of an input, `-` for stdin.
    ///
    /// # Errors
    ///
    /// [`Bad`]; nothing was submitted.
    fn read(&self, input: &Path, on_bad: OnBad) -> Result<Loaded, Bad>;

    /// Makes up this many events.
    fn generate(&self, events: u64) -> Box<dyn Traffic>;

    /// What the states of the engine's stages say; `None` when it runs another flow.
    fn summary(&self, engine: &Engine) -> Option<Found>;
}

/// What to do with an event that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBad {
    /// End with [`Bad::Content`].
    Stop,
    /// Count it in [`Loaded::bad`] and go on.
    Skip,
    /// Count it, put it into [`Loaded::dead_letters`] and go on.
    Keep,
}

/// Events on their way in, in their order.
pub trait Traffic {
    /// How many there are, all together.
    fn events(&self) -> u64;

    /// Submits the next one; `None` when there is none.
    fn submit_next(&mut self, engine: &Engine) -> Option<Result<Ticket, Error>>;

    /// What a person would call the event of this index.
    fn name(&self, index: u64) -> String;
}

/// An input that was read.
pub struct Loaded {
    /// Its events.
    pub traffic: Box<dyn Traffic>,
    /// How many of its inputs were bad and passed over.
    pub bad: u64,
    /// The bad ones, one line of JSON each, when they were to be kept.
    pub dead_letters: Vec<String>,
}

/// Why an input could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Its content is not what it should be: the place and what was expected.
    Content(String),
    /// The system refused to show it.
    Unreadable(String),
}

/// What the states say when the input has gone through.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// For machines.
    pub json: Map<String, Value>,
    /// For people: label and value, aligned by whoever prints it; a row without a label belongs to the one above.
    pub rows: Vec<(String, String)>,
}
