//! What a unit does with one event: states, outputs, rejections, commands.

use std::sync::Arc;

use downbeat_flow::{
    Context, Flow, Input, Kinds, Ledger, Mismatch, Nothing, OUTPUT_BYTES_MAX, Out, Reject, Rejected, Shards,
    Sink, Stage, StageId, Unit, key_of, source_of,
};
use downbeat_record::{
    AlignedBuf, Batch, ContractTable, Event, Fields, Key, Record, Seq, Timestamp, encoded_here, rkyv,
};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Do", version = 1)]
struct Do {
    what: String,
    amount: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Done", version = 1)]
struct Done {
    amount: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Said", version = 1)]
struct Said {
    text: String,
}

/// Does as it is told, after changing its state.
struct Obedient;

impl Stage for Obedient {
    type State = u64;
    type Output = Done;

    fn apply(&self, state: &mut u64, event: &Context<'_>, out: &mut Out<'_, Done>) -> Result<(), Reject> {
        let Some(todo) = event.event::<Do>()? else { return Ok(()) };
        let amount = todo.amount.to_native();
        *state += amount;
        match todo.what.as_str() {
            "send" => out.send(&Done { amount })?,
            "send twice" => {
                out.send(&Done { amount })?;
                out.send(&Done { amount })?;
            }
            "emit" => out.emit(&Done { amount })?,
            "emit far too often" => {
                for _ in 0..100 {
                    out.emit(&Done { amount })?;
                }
            }
            "emit, then send" => {
                out.emit(&Done { amount })?;
                out.send(&Done { amount })?;
            }
            "emit what is not declared" => out.emit(&Do { what: String::new(), amount })?,
            "send although too much cannot be emitted" => {
                let text = "x".repeat(OUTPUT_BYTES_MAX + 1);
                assert!(out.emit(&Said { text }).is_err());
                out.send(&Done { amount })?;
            }
            "reject" => return Err(Reject::new("no")),
            "panic" => panic!("I cannot"),
            _ => {}
        }
        Ok(())
    }
}

/// Adds up what it is sent.
struct Adds;

impl Stage for Adds {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, state: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        let done = event.input::<Done>()?.ok_or_else(|| Reject::new("called without a value"))?;
        *state += done.amount.to_native();
        Ok(())
    }
}

/// Counts what it is on.
struct Counts;

impl Stage for Counts {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, state: &mut u64, _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        *state += 1;
        Ok(())
    }
}

#[derive(Default)]
struct Taken {
    values: Vec<(StageId, u64)>,
    commands: Vec<(Fields, Vec<u8>)>,
}

impl Sink for Taken {
    fn value(&mut self, from: StageId, _: &Record<'_>, bytes: &[u8]) {
        self.values.push((from, Done::view(encoded_here(bytes)).unwrap().amount.to_native()));
    }

    fn command(&mut self, fields: &Fields, payload: &[u8]) {
        self.commands.push((*fields, payload.to_vec()));
    }
}

struct Rig {
    flow: Flow,
    kinds: Arc<Kinds>,
}

impl Rig {
    fn new() -> Self {
        let flow = Flow::named("test")
            .stage("obedient", Obedient)
            .on::<Do>()
            .emits::<Done>()
            .emits::<Said>()
            .stage("adds", Adds)
            .global()
            .after(["obedient"])
            .stage("counts", Counts)
            .on::<Do>()
            .build()
            .unwrap();
        let mut table = ContractTable::new();
        let kinds = flow.bind(|contract| table.register(contract)).unwrap();
        Self { flow, kinds }
    }

    fn unit(&self, shards: u32) -> Unit {
        let all: Vec<StageId> = self.flow.stages().iter().map(|stage| stage.id).collect();
        self.flow.unit(&all, Shards::All(shards), &self.kinds)
    }

    /// A batch of orders, each about its own place modulo 5.
    fn batch(&self, orders: &[&str]) -> Batch {
        let kind = self.kinds.of(std::any::TypeId::of::<Do>()).unwrap();
        let mut batch = Batch::with_capacity(64 * 1024, 0);
        for (index, what) in orders.iter().enumerate() {
            let event = Do { what: (*what).to_owned(), amount: index as u64 + 1 };
            let mut bytes = AlignedBuf::zeroed(event.encoded_len_max());
            let len = event.encode(&mut bytes).unwrap();
            let fields = Fields { kind, key: Key(index as u64 % 5 + 1), ..Fields::default() };
            batch.push(&fields, Timestamp(1_000 + index as u64), &bytes[..len]).unwrap();
        }
        batch
    }

    fn run(&self, unit: &mut Unit, batch: &Batch) -> Taken {
        let mut taken = Taken::default();
        for record in batch.records() {
            unit.apply(&record, &[], &mut taken);
        }
        taken
    }

    fn rejections(&self, taken: &Taken) -> Vec<(u64, String, bool)> {
        let kind = self.kinds.of(std::any::TypeId::of::<Rejected>()).unwrap();
        let rejected = taken.commands.iter().filter(|(fields, _)| fields.kind == kind);
        rejected
            .map(|(fields, payload)| {
                let aligned = AlignedBuf::from_slice(payload);
                let event = Rejected::view(encoded_here(&aligned[..payload.len()])).unwrap();
                (fields.causation.0, event.reason.as_str().to_owned(), event.panicked)
            })
            .collect()
    }
}

fn sum(unit: &Unit, stage: &str) -> u64 {
    let mut sum = 0;
    let known = match stage {
        "adds" => unit.each_state::<Adds>(stage, |_, state| sum += state),
        "counts" => unit.each_state::<Counts>(stage, |_, state| sum += state),
        _ => unit.each_state::<Obedient>(stage, |_, state| sum += state),
    };
    assert!(known);
    sum
}

#[test]
fn a_value_reaches_the_stage_after_it_for_the_same_event() {
    let rig = Rig::new();
    let mut unit = rig.unit(1);
    let taken = rig.run(&mut unit, &rig.batch(&["send", "nothing", "send"]));
    assert_eq!((sum(&unit, "obedient"), sum(&unit, "adds")), (6, 4));
    assert!(taken.values.is_empty(), "nobody outside the unit comes after it");
}

#[test]
fn a_rejected_event_leaves_no_trace_in_state_or_outputs() {
    let rig = Rig::new();
    let mut unit = rig.unit(1);
    let orders = [
        "send",
        "reject",
        "panic",
        "send twice",
        "emit far too often",
        "emit, then send",
        "emit what is not declared",
    ];
    let taken = rig.run(&mut unit, &rig.batch(&orders));
    assert_eq!((sum(&unit, "obedient"), sum(&unit, "adds")), (1, 1));
    let rejections = rig.rejections(&taken);
    assert_eq!(taken.commands.len(), rejections.len(), "what a rejected event emitted is dropped");
    let reasons: Vec<_> =
        rejections.iter().map(|(seq, reason, panicked)| (*seq, reason.as_str(), *panicked)).collect();
    assert_eq!(reasons[0], (2, "no", false));
    assert_eq!(reasons[1], (3, "it panicked", true), "a compiler may word a panic in another way");
    assert_eq!(reasons[2], (4, "a second `test.Done` was sent for one event", false));
    assert_eq!(reasons[3], (5, "more than 8 events emitted for one event", false));
    assert_eq!(reasons[4], (6, "a value must be sent before events are emitted", false));
    assert!(reasons[5].1.contains("`test.Do`"), "{}", reasons[5].1);
}

#[test]
fn an_event_that_one_stage_rejects_or_panics_on_reaches_the_others() {
    let rig = Rig::new();
    let mut unit = rig.unit(1);
    let taken = rig.run(&mut unit, &rig.batch(&["panic", "send", "reject", "panic"]));
    assert_eq!((sum(&unit, "obedient"), sum(&unit, "adds"), sum(&unit, "counts")), (2, 2, 4));
    assert_eq!(rig.rejections(&taken).iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), [1, 3, 4]);
}

#[test]
fn what_could_not_be_emitted_is_no_part_of_what_is_sent() {
    let rig = Rig::new();
    let mut unit = rig.unit(1);
    let taken = rig.run(&mut unit, &rig.batch(&["send although too much cannot be emitted"]));
    assert_eq!((sum(&unit, "adds"), taken.commands.len()), (1, 0));
}

/// A sink that breaks.
struct Broken;

impl Sink for Broken {
    fn value(&mut self, _: StageId, _: &Record<'_>, _: &[u8]) {}

    fn command(&mut self, _: &Fields, _: &[u8]) {
        panic!("the sink is broken");
    }
}

#[test]
fn a_panic_of_the_sink_is_nobodys_rejection_and_goes_on() {
    let rig = Rig::new();
    for order in ["emit", "reject"] {
        let batch = rig.batch(&[order]);
        let mut unit = rig.unit(1);
        let record = batch.records().next().unwrap();
        let apply = std::panic::AssertUnwindSafe(|| unit.apply(&record, &[], &mut Broken));
        let panic = std::panic::catch_unwind(apply).expect_err("it goes on");
        assert_eq!(panic.downcast_ref(), Some(&"the sink is broken"));
    }
}

#[test]
fn digests_see_every_change_and_no_shard_count() {
    let rig = Rig::new();
    let base = ["send", "emit", "reject", "send", "nothing", "emit", "send"];
    let reference = {
        let mut unit = rig.unit(1);
        rig.run(&mut unit, &rig.batch(&base));
        unit.sums()
    };
    for shards in [2, 3, 8] {
        let mut unit = rig.unit(shards);
        rig.run(&mut unit, &rig.batch(&base));
        assert_eq!(unit.sums(), reference);
    }
    for (place, other) in [(0, "nothing"), (1, "send"), (2, "panic"), (4, "emit")] {
        let mut orders = base;
        orders[place] = other;
        let mut unit = rig.unit(1);
        rig.run(&mut unit, &rig.batch(&orders));
        assert_ne!(unit.sums()[0], reference[0], "order {place} differs and no digest shows it");
    }
}

#[test]
fn sums_taken_along_the_way_do_not_change_the_sums_at_the_end() {
    let rig = Rig::new();
    let batch = rig.batch(&["send", "emit", "send", "reject", "send", "emit", "nothing"]);
    let (mut often, mut once) = (rig.unit(2), rig.unit(2));
    for record in batch.records() {
        often.apply(&record, &[] as &[Input<'_>], &mut Taken::default());
        often.sums();
        once.apply(&record, &[] as &[Input<'_>], &mut Taken::default());
    }
    assert_eq!(often.sums(), once.sums());
}

#[test]
fn a_command_is_named_by_stage_event_and_index_alone() {
    let rig = Rig::new();
    let taken = rig.run(&mut rig.unit(1), &rig.batch(&["nothing", "emit"]));
    let (fields, _) = &taken.commands[0];
    assert_eq!(fields.idempotency_key, key_of("obedient", Seq(2), 0));
    assert_eq!((fields.source, fields.causation, fields.key), (source_of("obedient"), Seq(2), Key(2)));
    assert!(fields.derived);
    assert_ne!(key_of("obedient", Seq(2), 0), key_of("obedient", Seq(2), 1));
    assert_ne!(key_of("obedient", Seq(2), 0), key_of("other", Seq(2), 0));
}

#[test]
fn a_ledger_tells_what_is_missing_what_differs_and_what_nobody_emitted() {
    let rig = Rig::new();
    let taken = rig.run(&mut rig.unit(1), &rig.batch(&["emit", "emit", "emit"]));
    let mut logged = Batch::with_capacity(64 * 1024, 0);
    logged.open(Seq(4));
    for (index, (fields, payload)) in taken.commands.iter().enumerate() {
        let mut payload = payload.clone();
        payload[0] ^= u8::from(index == 1);
        logged.push(fields, Timestamp(5_000 + index as u64), &payload).unwrap();
    }
    let mut ledger = Ledger::default();
    taken.commands[..2].iter().for_each(|(fields, payload)| ledger.emitted(*fields, payload));
    let records: Vec<_> = logged.records().collect();
    assert_eq!(ledger.logged(&records[0]), Ok(()));
    assert!(matches!(ledger.logged(&records[1]), Err(Mismatch::Differs { seq: Seq(5), cause: Seq(2), .. })));
    assert_eq!(ledger.logged(&records[2]), Err(Mismatch::NotEmitted { seq: Seq(6), cause: Seq(3) }));
    assert_eq!((ledger.oldest(), ledger.memory()), (None, 0));
    ledger.emitted(taken.commands[2].0, &taken.commands[2].1);
    assert_eq!(ledger.oldest().map(|fields| fields.causation), Some(Seq(3)));
    assert!(ledger.memory() > taken.commands[2].1.len());
    assert_eq!(ledger.take().count(), 1);
    assert_eq!((ledger.is_empty(), ledger.memory()), (true, 0));
}

/// Found by reading: several of one event were submitted in the order of their keys, which are hashes.
#[test]
fn what_the_log_lacks_comes_in_the_order_in_which_it_was_emitted() {
    let mut ledger = Ledger::default();
    let fields = |cause: u64, index| Fields {
        causation: Seq(cause),
        idempotency_key: key_of("stage", Seq(cause), index),
        ..Fields::default()
    };
    let emitted: Vec<_> = (1..=8).flat_map(|cause| (0..8).map(move |index| fields(cause, index))).collect();
    emitted.iter().for_each(|fields| ledger.emitted(*fields, &[]));
    assert_eq!(ledger.take().map(|pending| pending.fields).collect::<Vec<_>>(), emitted);
}

/// Asks for what another stage sends, by its type or by its name.
struct Asks {
    stage: Option<&'static str>,
}

impl Stage for Asks {
    type State = u64;
    type Output = Nothing;

    fn apply(&self, given: &mut u64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        let done = match self.stage {
            Some(stage) => event.input_from::<Done>(stage)?,
            None => event.input::<Done>()?,
        };
        *given += u64::from(done.is_some());
        Ok(())
    }
}

/// Found by reading: where `after` was forgotten, it was as if nothing had been sent, at every event and on every replay.
#[test]
fn what_a_stage_asks_of_one_that_it_does_not_come_after_is_a_rejection() {
    for (stage, after, refused) in [
        (None, true, None),
        (Some("obedient"), true, None),
        (None, false, Some("comes after none that sends `test.Done`")),
        (Some("obedient"), false, Some("does not come after a stage `obedient`")),
        (Some("nobody"), true, Some("does not come after a stage `nobody`")),
    ] {
        let flow = Flow::named("test").stage("obedient", Obedient).on::<Do>().emits::<Done>();
        let flow = flow.stage("asks", Asks { stage }).on::<Do>();
        let flow = if after { flow.after(["obedient"]) } else { flow }.build().unwrap();
        let mut table = ContractTable::new();
        let kinds = flow.bind(|contract| table.register(contract)).unwrap();
        let rig = Rig { flow, kinds };
        let mut unit = rig.unit(1);
        let taken = rig.run(&mut unit, &rig.batch(&["send", "nothing"]));
        let mut given = 0;
        assert!(unit.each_state::<Asks>("asks", |_, state| given += state));
        let reasons: Vec<_> = rig.rejections(&taken).into_iter().map(|(_, reason, _)| reason).collect();
        match refused {
            None => assert_eq!((given, reasons.len()), (1, 0), "{reasons:?}"),
            Some(said) => {
                assert!(
                    reasons.len() == 2 && reasons.iter().all(|reason| reason.contains(said)),
                    "{reasons:?}"
                );
            }
        }
    }
}
