//! A bench for one stage: events and inputs go in, what it put out and its state come out. No engine, no thread.

use std::any::TypeId;
use std::marker::PhantomData;
use std::sync::Arc;

use downbeat::record::{AlignedBuf, Batch, Fields, Kind, Record, encoded_here};
use downbeat::{
    Context, Delivery, Event, Flow, FlowBuilder, Key, Leaf, LeafError, Out, Reject, Rejected, Seq, Stage,
    Timestamp,
};
use downbeat_flow::{EventType, Input, Kinds, Shards, Sink, StageId, Unit};
use rkyv::api::high::HighDeserializer;
use rkyv::rancor::Error;
use rkyv::{Archived, Deserialize};

use super::Recorded;
use crate::activity::{Activity, Transition};

/// The case of everything on the bench.
pub(super) const CASE: u64 = 173_688;

/// An event that completes.
pub(super) fn recorded(activity: Activity, amount_eur: Option<u64>) -> Recorded {
    Recorded { amount_eur, ..recorded_as(activity, Transition::Complete) }
}

/// An event in any transition.
pub(super) fn recorded_as(activity: Activity, transition: Transition) -> Recorded {
    Recorded { case: CASE, occurred_at_ns: 1, activity, transition, resource: None, amount_eur: None }
}

/// One stage, alone.
pub(super) struct Bench<S: Stage> {
    stage: Option<S>,
    before: Vec<(&'static str, Bytes)>,
    flow: Option<FlowBuilder>,
    qualify: Vec<fn(FlowBuilder) -> FlowBuilder>,
    running: Option<(Unit, Arc<Kinds>)>,
    seq: u64,
}

/// What the stage put out for one event.
#[derive(Default)]
pub(super) struct Seen {
    value: Option<Bytes>,
    commands: Vec<Bytes>,
    rejected: Kind,
}

/// An archive where it can be read.
struct Bytes(AlignedBuf, usize);

impl Bytes {
    fn of<E: Event>(event: &E) -> Self {
        let mut buffer = AlignedBuf::zeroed(event.encoded_len_max().max(16));
        let len = event.encode(&mut buffer).unwrap();
        Self(buffer, len)
    }

    fn copy(bytes: &[u8]) -> Self {
        let mut buffer = AlignedBuf::zeroed(bytes.len().max(16));
        buffer[..bytes.len()].copy_from_slice(bytes);
        Self(buffer, bytes.len())
    }

    fn get(&self) -> &[u8] {
        &self.0[..self.1]
    }

    fn read<E>(&self) -> E
    where
        E: Event,
        Archived<E>: Deserialize<E, HighDeserializer<Error>>,
    {
        rkyv::deserialize::<E, Error>(E::view(encoded_here(self.get())).unwrap()).unwrap()
    }
}

impl<S: Stage> Bench<S> {
    pub(super) fn of(stage: S) -> Self {
        let flow = Some(Flow::named("bench"));
        Self { stage: Some(stage), before: Vec::new(), flow, qualify: Vec::new(), running: None, seq: 0 }
    }

    /// The stage may emit this.
    pub(super) fn emits<E: Event>(mut self) -> Self {
        self.qualify.push(|flow| flow.emits::<E>());
        self
    }

    /// The stage comes after one of this name, which sends this value when it sends.
    pub(super) fn after<V: Event>(mut self, name: &'static str, value: V) -> Self {
        self.flow = self.flow.map(|flow| flow.stage(name, Sends::<V>(PhantomData)).on::<Recorded>());
        self.before.push((name, Bytes::of(&value)));
        self
    }

    pub(super) fn apply(&mut self, event: &Recorded) -> Seen {
        self.apply_with(event, &[])
    }

    /// Applies an event for which these stages have sent.
    pub(super) fn apply_with(&mut self, event: &Recorded, senders: &[&str]) -> Seen {
        self.start();
        let (unit, kinds) = self.running.as_mut().unwrap();
        self.seq += 1;
        let kind = kinds.of(TypeId::of::<Recorded>()).unwrap();
        let fields = Fields { kind, key: Key(CASE), ..Fields::default() };
        let mut batch = Batch::with_capacity(64 << 10, 0);
        batch.open(Seq(self.seq));
        batch.push(&fields, Timestamp(self.seq), Bytes::of(event).get()).unwrap();
        let sent = self.before.iter().enumerate().filter(|(_, (name, _))| senders.contains(name));
        let inputs: Vec<_> = sent
            .map(|(index, (_, value))| Input { from: StageId(index as u16), bytes: value.get() })
            .collect();
        let rejected = kinds.of(TypeId::of::<Rejected>()).unwrap();
        let mut seen = Seen { rejected, ..Seen::default() };
        unit.apply(&batch.records().next().unwrap(), &inputs, &mut seen);
        seen
    }

    /// The state of the case.
    pub(super) fn state(&self) -> S::State {
        let mut found = None;
        let (unit, _) = self.running.as_ref().unwrap();
        assert!(unit.each_state::<S>("bench", |_, state| found = Some(state.clone())));
        found.unwrap()
    }

    fn start(&mut self) {
        let Some(stage) = self.stage.take() else { return };
        let mut flow = self.flow.take().unwrap().stage("bench", stage);
        flow = match self.before.is_empty() {
            true => flow.on::<Recorded>(),
            false => self.before.iter().fold(flow, |flow, (name, _)| flow.after([*name])),
        };
        flow = self.qualify.iter().fold(flow, |flow, qualify| qualify(flow));
        let flow = flow.leaf("sink", Deaf).after(["bench"]).build().unwrap();
        let types = flow.event_types();
        let number = |contract: downbeat::record::Contract| {
            let named = |one: &EventType| one.name == contract.name;
            Ok::<_, ()>(Kind(types.iter().position(named).unwrap() as u16 + 1))
        };
        let kinds = flow.bind(number).unwrap();
        let unit = flow.unit(&[StageId(self.before.len() as u16)], Shards::All(1), &kinds);
        self.running = Some((unit, kinds));
    }
}

impl Seen {
    /// The value it sent.
    pub(super) fn value<V>(&self) -> Option<V>
    where
        V: Event,
        Archived<V>: Deserialize<V, HighDeserializer<Error>>,
    {
        self.value.as_ref().map(Bytes::read)
    }

    /// The events it emitted.
    pub(super) fn emitted<E>(&self) -> Vec<E>
    where
        E: Event,
        Archived<E>: Deserialize<E, HighDeserializer<Error>>,
    {
        self.commands.iter().map(Bytes::read).collect()
    }
}

impl Sink for Seen {
    fn value(&mut self, _: StageId, _: &Record<'_>, bytes: &[u8]) {
        self.value = Some(Bytes::copy(bytes));
    }

    fn command(&mut self, fields: &Fields, payload: &[u8]) {
        assert_ne!(fields.kind, self.rejected, "the event was rejected");
        self.commands.push(Bytes::copy(payload));
    }
}

/// Stands for a stage that sends values of type `V`; on the bench it never runs.
struct Sends<V>(PhantomData<fn() -> V>);

impl<V: Event> Stage for Sends<V> {
    type State = ();
    type Output = V;

    fn apply(&self, _: &mut (), _: &Context<'_>, _: &mut Out<'_, V>) -> Result<(), Reject> {
        Ok(())
    }
}

/// Makes the stage's values leave the bench.
struct Deaf;

impl Leaf for Deaf {
    fn deliver(&mut self, _: &Delivery<'_>) -> Result<(), LeafError> {
        Ok(())
    }
}
