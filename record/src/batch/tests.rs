//! Batches: what goes in comes out, and nothing else is ever read.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ids::{BatchNo, Epoch};

fn stamp() -> Stamp {
    Stamp {
        batch_no: BatchNo(7),
        epoch: Epoch(2),
        salt: 0xfeed_beef,
        prev_root: Root([0xab; 32]),
        durable: BatchNo(6),
        clock_error_ns: 500,
    }
}

/// Ids from a small pool, so that events of one batch share them and differ in them.
fn fields() -> impl Strategy<Value = Fields> {
    let id = || prop_oneof![Just(0_u128), Just(1), Just(u128::MAX), any::<u128>()];
    let word = || prop_oneof![Just(0_u64), Just(1), Just(u64::MAX), any::<u64>()];
    (any::<u16>(), any::<u32>(), word(), id(), word(), id(), any::<bool>()).prop_map(
        |(kind, source, key, correlation, causation, idempotency_key, derived)| Fields {
            kind: Kind(kind),
            source: SourceId(source),
            key: Key(key),
            correlation: Correlation(correlation),
            causation: Seq(causation),
            idempotency_key: IdempotencyKey(idempotency_key),
            derived,
        },
    )
}

type Pushed = (Fields, u64, Vec<u8>);

fn events() -> impl Strategy<Value = Vec<Pushed>> {
    let (events, bytes) = if cfg!(miri) { (5, 60) } else { (40, 300) };
    vec((fields(), 1..1_000_000_u64, vec(any::<u8>(), 0..bytes)), 1..events)
}

fn sealed(events: &[Pushed]) -> Batch {
    let mut batch = Batch::with_capacity(BATCH_BYTES, 3);
    batch.open(Seq(1_000));
    let mut now = Timestamp(1_700_000_000_000_000_000);
    for (index, (fields, later, payload)) in events.iter().enumerate() {
        now.0 += later;
        assert_eq!(batch.push(fields, now, payload), Ok(Seq(1_000 + index as u64)));
    }
    batch.seal(&stamp());
    batch
}

/// Makes both checksums true again, so that what they protect is looked at.
fn fix_checksums(bytes: &mut [u8]) {
    let body_len = u32::from_le_bytes(bytes[36..40].try_into().unwrap()) as usize;
    let padded = (BATCH_HEADER_LEN + body_len).next_multiple_of(BLOCK).min(bytes.len());
    let body_crc = crc32c::crc32c(&bytes[BATCH_HEADER_LEN..padded]);
    bytes[96..100].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..BATCH_HEADER_LEN]);
    bytes[12..16].copy_from_slice(&header_crc.to_le_bytes());
}

/// What the check of the events must say, found out by taking every one of them out.
fn decode_all(bytes: &[u8]) -> Result<Timestamp, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let used = &bytes[..BATCH_HEADER_LEN + header.body_len()];
    let body = Body { used, timestamp: header.timestamp(), first: &Fields::default() };
    let (mut at, mut last) = (BATCH_HEADER_LEN, None);
    for index in 0..header.count() {
        let wrong = BatchError::Event { index, offset: at };
        let (record, next) = body.decode(at, Seq(1)).ok_or(wrong.clone())?;
        let later = last.map_or(record.timestamp == header.timestamp(), |last| record.timestamp > last);
        if !later || next > used.len() {
            return Err(wrong);
        }
        (at, last) = (next, Some(record.timestamp));
    }
    match last.filter(|_| at == used.len()) {
        Some(last) => Ok(last),
        None => Err(BatchError::Event { index: header.count(), offset: at }),
    }
}

/// Reads what may be anything, and everything there is to read in it.
fn walk(bytes: &[u8]) -> bool {
    let whole = WholeBatch::check(bytes);
    if whole.as_ref().is_ok_and(|whole| whole.kind() == BatchKind::Data)
        || matches!(whole, Err(BatchError::Event { .. }))
    {
        assert_eq!(whole.as_ref().map(WholeBatch::last_timestamp).map_err(Clone::clone), decode_all(bytes));
    }
    let Ok(whole) = whole else { return false };
    let batch = whole.to_batch();
    assert_eq!(batch.bytes(), whole.bytes());
    let same = |(a, b): (Record<'_>, Record<'_>)| {
        (a.seq, a.timestamp, a.fields, a.slot) == (b.seq, b.timestamp, b.fields, b.slot)
            && a.payload() == b.payload()
    };
    assert!(whole.records().zip(batch.records()).all(same));
    assert_eq!(whole.records().count(), batch.records().count());
    let records: Vec<Record<'_>> = batch.records().collect();
    assert_eq!(records.len(), batch.count() as usize);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.seq.0, batch.first_seq().0 + index as u64);
        assert!(batch.record(record.slot, record.seq).is_some());
    }
    assert!(records.is_sorted_by(|a, b| a.timestamp < b.timestamp));
    for slot in 0..(batch.used() / ALIGN + 2) as u32 {
        let _ = batch.record(slot, batch.first_seq());
    }
    true
}

/// Bytes of a body that nobody wrote.
const BODY_MAX: usize = if cfg!(miri) { 200 } else { 2_000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    #[test]
    fn every_combination_of_fields_comes_out_as_it_went_in(events in events()) {
        let batch = sealed(&events);
        let read = Batch::read(batch.bytes()).unwrap();
        prop_assert_eq!(read.bytes(), batch.bytes());
        prop_assert_eq!(read.count() as usize, events.len());
        for batch in [&batch, &read] {
            let mut now = 1_700_000_000_000_000_000;
            for (seq, (record, (fields, later, payload))) in (1_000..).zip(batch.records().zip(&events)) {
                now += later;
                prop_assert_eq!(record.seq, Seq(seq));
                prop_assert_eq!(record.timestamp, Timestamp(now));
                prop_assert_eq!(&record.fields, fields);
                prop_assert_eq!(record.payload().bytes(), payload.as_slice());
                prop_assert_eq!(record.payload().bytes().as_ptr() as usize % ALIGN, 0);
                let again = batch.record(record.slot, record.seq).unwrap();
                prop_assert_eq!(again.fields, *fields);
            }
        }
    }

    #[test]
    fn mutated_bytes_are_refused(
        events in events(),
        flips in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let good = sealed(&events).bytes().to_vec();
        let mut bytes = good.clone();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        prop_assert_eq!(walk(&bytes), bytes == good);
        prop_assert!(!walk(&good[..cut.index(good.len())]));
    }

    #[test]
    fn a_mutated_body_with_true_checksums_never_panics(
        events in events(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        header in vec((16..BATCH_HEADER_LEN, any::<u8>()), 0..3),
    ) {
        let mut bytes = sealed(&events).bytes().to_vec();
        for (at, value) in flips {
            let body = bytes.len() - BATCH_HEADER_LEN;
            bytes[BATCH_HEADER_LEN + at.index(body)] = value;
        }
        for (at, value) in header {
            bytes[at] = value;
        }
        fix_checksums(&mut bytes);
        walk(&bytes);
    }

    #[test]
    fn random_bodies_with_true_checksums_never_panic(
        body in vec(prop_oneof![4 => Just(0_u8), 1 => any::<u8>(), 1 => 0..32_u8], 16..BODY_MAX),
        count in 1..20_u32,
    ) {
        let mut bytes = sealed(&[(Fields::default(), 1, Vec::new())]).bytes().to_vec();
        bytes.truncate(BATCH_HEADER_LEN);
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes[32..36].copy_from_slice(&count.to_le_bytes());
        bytes[36..40].copy_from_slice(&(body.len() as u32).to_le_bytes());
        fix_checksums(&mut bytes);
        walk(&bytes);
    }

    #[test]
    fn random_bytes_are_refused(bytes in vec(any::<u8>(), 0..9_000)) {
        prop_assert!(!walk(&bytes));
    }
}

#[test]
#[cfg_attr(miri, ignore = "checksums of tens of thousands of blocks")]
fn every_single_bit_flip_is_found() {
    let events: Vec<Pushed> = (0..12)
        .map(|index| {
            let fields = Fields {
                correlation: Correlation(u128::from(index % 2)),
                key: Key(u64::from(index)),
                ..Fields::default()
            };
            (fields, 1, vec![index; 400])
        })
        .collect();
    let mut bytes = sealed(&events).bytes().to_vec();
    assert_eq!(bytes.len(), 2 * BLOCK);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Batch::read(&bytes).is_err(), "bit {bit} may be flipped unseen");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(Batch::read(&bytes).is_ok());
}

#[test]
fn times_that_do_not_increase_are_refused_at_the_event() {
    let mut bytes =
        sealed(&[(Fields::default(), 1, vec![1; 16]), (Fields::default(), 5, vec![2; 16])]).bytes().to_vec();
    let (event, delta_at) = (BATCH_HEADER_LEN + EVENT_HEADER_LEN + ALIGN, 12);
    for (index, offset, delta, good) in
        [(1, event, 5_u32, true), (1, event, 1, true), (1, event, 0, false), (0, BATCH_HEADER_LEN, 1, false)]
    {
        let at = offset + delta_at;
        let before = bytes[at..at + 4].to_vec();
        bytes[at..at + 4].copy_from_slice(&delta.to_le_bytes());
        fix_checksums(&mut bytes);
        let found = WholeBatch::check(&bytes).map(|_| ());
        assert_eq!(
            found,
            if good { Ok(()) } else { Err(BatchError::Event { index, offset }) },
            "{index}: {delta}"
        );
        assert_eq!(walk(&bytes), good);
        bytes[at..at + 4].copy_from_slice(&before);
    }
}

#[test]
fn shared_ids_cost_nothing_and_all_headers_at_most_a_twentieth() {
    let fields = Fields {
        kind: Kind(1),
        source: SourceId(1),
        key: Key(7),
        correlation: Correlation(9),
        causation: Seq(3),
        ..Fields::default()
    };
    let mut batch = Batch::with_capacity(BATCH_BYTES, 0);
    let mut payloads = 0;
    while batch.push(&fields, Timestamp(payloads as u64 + 1), &[1; 512]).is_ok() {
        payloads += 512;
    }
    let overhead = batch.used() - payloads;
    assert!(overhead * 20 <= payloads, "{overhead} bytes of headers for {payloads} bytes of payload");
    assert_eq!(overhead, BATCH_HEADER_LEN + 2 * ALIGN + batch.count() as usize * EVENT_HEADER_LEN);
}

#[test]
fn a_full_batch_is_as_it_was() {
    let mut batch = Batch::with_capacity(BLOCK, 0);
    assert_eq!(batch.push(&Fields::default(), Timestamp(1), &[5; 1_000]), Ok(Seq(1)));
    let used = batch.used();
    assert_eq!(batch.push(&Fields::default(), Timestamp(2), &[6; BLOCK]), Err(BatchFull));
    assert_eq!((batch.used(), batch.count()), (used, 1));
    assert_eq!(batch.push(&Fields::default(), Timestamp(2), &[6; 1_000]), Ok(Seq(2)));
    batch.seal(&stamp());
    assert_eq!(Batch::read(batch.bytes()).unwrap().count(), 2);
}

#[test]
fn an_event_fits_when_it_would_with_every_id_and_not_a_byte_beyond() {
    let everything = Fields {
        correlation: Correlation(1),
        key: Key(2),
        idempotency_key: IdempotencyKey(3),
        ..Fields::default()
    };
    let room = BLOCK - BATCH_HEADER_LEN - EVENT_OVERHEAD_MAX;
    let mut batch = Batch::with_capacity(BLOCK, 0);
    assert_eq!(batch.push(&everything, Timestamp(1), &vec![7; room + 1]), Err(BatchFull));
    assert_eq!(batch.push(&everything, Timestamp(1), &vec![7; room]), Ok(Seq(1)));
    assert!(batch.used() <= batch.capacity());
    batch.seal(&stamp());
    assert_eq!(
        Batch::read(batch.bytes()).unwrap().records().next().unwrap().payload().bytes(),
        vec![7; room]
    );

    // One byte needs as much padding as there can be.
    let mut batch = Batch::with_capacity(BLOCK, 0);
    assert_eq!(batch.push(&everything, Timestamp(1), &[7]), Ok(Seq(1)));
    assert_eq!(batch.used(), BATCH_HEADER_LEN + EVENT_OVERHEAD_MAX);
    let rest = BLOCK - batch.used() - EVENT_HEADER_LEN - EVENT_OVERHEAD_MAX;
    assert_eq!(batch.push(&Fields::default(), Timestamp(2), &vec![7; rest]), Ok(Seq(2)));
    assert_eq!(batch.push(&everything, Timestamp(3), b"1"), Err(BatchFull));
    assert_eq!(batch.push(&everything, Timestamp(3), b""), Ok(Seq(3)));
    assert_eq!(batch.push(&Fields::default(), Timestamp(4), b""), Err(BatchFull));
}

#[test]
fn what_was_read_in_place_says_the_same_as_its_copies() {
    let events: Vec<Pushed> = (0..3).map(|index| (Fields::default(), 1, vec![index; 5_000])).collect();
    let batch = sealed(&events);
    let whole = WholeBatch::check(batch.bytes()).unwrap();
    assert_eq!((whole.next_seq(), whole.padded_len()), (Seq(1_003), batch.bytes().len()));
    assert_eq!((whole.body(), whole.root()), (batch.body(), batch.root()));
    assert!(whole.body().len() > 15_000 && whole.root() != Root::default());
    let mut into = Batch::with_capacity(BATCH_BYTES, 4);
    into.push(&Fields::default(), Timestamp(1), b"gone then").unwrap();
    whole.copy_to(&mut into);
    for copy in [&whole.to_batch(), &into] {
        assert_eq!((copy.index(), copy.used(), copy.count()), (u16::MAX, batch.used(), 3));
        assert_eq!((copy.first_seq(), copy.next_seq()), (Seq(1_000), Seq(1_003)));
        assert_eq!((copy.timestamp(), copy.last_timestamp()), (batch.timestamp(), batch.last_timestamp()));
        assert_eq!((copy.bytes(), copy.root()), (batch.bytes(), batch.root()));
        assert!(copy.records().zip(batch.records()).all(|(a, b)| a.payload() == b.payload()));
    }
}

#[test]
fn a_walk_goes_on_where_an_earlier_one_stopped() {
    let events: Vec<Pushed> = (0..5).map(|index| (Fields::default(), 1, vec![index; 20])).collect();
    let batch = sealed(&events);
    let mut walk = batch.records();
    for index in 0..5 {
        let place = walk.place();
        assert_eq!((place.next_seq(), place.is_end()), (Seq(1_000 + index), false));
        assert_eq!(walk.size_hint(), (0, Some(5 - index as usize)));
        let seqs: Vec<Seq> = batch.resume(place).map(|record| record.seq).collect();
        assert_eq!(seqs, (1_000 + index..1_005).map(Seq).collect::<Vec<_>>());
        assert_eq!(walk.next().unwrap().payload().bytes(), [index as u8; 20]);
    }
    assert_eq!((walk.place().next_seq(), walk.place().is_end()), (Seq(1_005), true));
    let slot = batch.records().next().unwrap().slot;
    let found = [999, 1_000, 1_005].map(|seq| batch.record(slot, Seq(seq)).is_some());
    assert_eq!(found, [false, true, false], "a place of another batch");
    assert!(walk.next().is_none() && batch.resume(walk.place()).next().is_none());
}

#[test]
fn a_batch_says_what_it_holds() {
    let mut batch = Batch::with_capacity(3 * BLOCK, 5);
    let sizes = |batch: &Batch| (batch.index(), batch.capacity(), batch.used(), batch.padded_len());
    assert_eq!(sizes(&batch), (5, 3 * BLOCK, BATCH_HEADER_LEN, BLOCK));
    assert!(batch.is_empty());
    batch.push(&Fields::default(), Timestamp(10), &[1; BLOCK]).unwrap();
    batch.push(&Fields::default(), Timestamp(12), b"").unwrap();
    batch.seal(&stamp());
    assert_eq!((batch.buffer().len(), &batch.buffer()[..BLOCK]), (3 * BLOCK, &batch.bytes()[..BLOCK]));
    let used = BATCH_HEADER_LEN + BLOCK + 2 * EVENT_HEADER_LEN;
    assert_eq!(sizes(&batch), (5, 3 * BLOCK, used, 2 * BLOCK));
    assert_eq!(sizes(&batch.detached()), (u16::MAX, 2 * BLOCK, used, 2 * BLOCK));
    for batch in [&batch, &batch.detached(), &Batch::read(batch.bytes()).unwrap()] {
        assert!(!batch.is_empty());
        assert_eq!((batch.timestamp(), batch.last_timestamp()), (Timestamp(10), Timestamp(12)));
    }
}

#[test]
fn an_event_too_late_for_its_batch_goes_into_the_next() {
    let mut batch = Batch::with_capacity(BLOCK, 0);
    batch.push(&Fields::default(), Timestamp(1), b"first").unwrap();
    let last = Timestamp(1 + u64::from(u32::MAX));
    assert_eq!(batch.push(&Fields::default(), Timestamp(last.0 + 1), b"late"), Err(BatchFull));
    assert_eq!(batch.push(&Fields::default(), last, b"just"), Ok(Seq(2)));
    assert_eq!(batch.records().last().unwrap().timestamp, last);
}

#[test]
#[should_panic(expected = "timestamp 5 after 5")]
fn time_that_stands_still_is_a_bug_of_the_caller() {
    let mut batch = Batch::with_capacity(BLOCK, 0);
    batch.push(&Fields::default(), Timestamp(5), b"").unwrap();
    let _ = batch.push(&Fields::default(), Timestamp(5), b"");
}

#[test]
fn a_reused_batch_remembers_nothing() {
    let mut batch = Batch::with_capacity(BLOCK, 0);
    let fields = Fields { correlation: Correlation(9), key: Key(4), ..Fields::default() };
    batch.push(&fields, Timestamp(50), &[0xff; 2_000]).unwrap();
    batch.seal(&stamp());
    batch.open(Seq(2));
    batch.push(&fields, Timestamp(1), b"short").unwrap();
    batch.seal(&stamp());
    let mut fresh = Batch::with_capacity(BLOCK, 0);
    fresh.open(Seq(2));
    fresh.push(&fields, Timestamp(1), b"short").unwrap();
    fresh.seal(&stamp());
    assert_eq!(batch.bytes(), fresh.bytes());
}

#[test]
fn a_control_batch_carries_its_body_and_no_events() {
    let kinds = [BatchKind::Heartbeat, BatchKind::Contracts, BatchKind::Checkpoint, BatchKind::Recovery];
    for kind in kinds {
        let mut batch = Batch::control(kind, Seq(10), Timestamp(3), b"{\"seq\": 9}");
        batch.seal(&stamp());
        let read = Batch::read(batch.bytes()).unwrap();
        assert_eq!((read.kind(), read.body(), read.count()), (kind, &b"{\"seq\": 9}"[..], 0));
        assert_eq!((read.first_seq(), read.next_seq()), (Seq(10), Seq(10)));
        assert!(read.records().next().is_none());
        assert!(walk(batch.bytes()));
    }
}
