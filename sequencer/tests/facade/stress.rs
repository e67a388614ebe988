//! Many producers on real threads: every event once, each producer's in its order, the driver asleep when idle.

use std::thread;

use downbeat_record::{Fields, Seq, SourceId};
use downbeat_sequencer::{Ack, Settings, Start, Stop, SystemClock, sequencer};

const PRODUCERS: u32 = 4;
const EACH: u64 = 500_000;
/// Every so many events ask for a receipt.
const RECEIPT_EVERY: u64 = 64;

#[test]
fn two_million_events_of_four_producers_arrive_once_and_in_the_order_of_each() {
    let settings = Settings { ring_bytes: 256 << 10, batches: 8, ..Settings::default() };
    let (ingress, mut sequencer) = sequencer(&settings, SystemClock, Start::fresh(&settings));
    let driver = thread::current();
    sequencer.doorbell().hang(move || driver.unpark());
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let ingress = ingress.clone();
            scope.spawn(move || produce(&ingress, producer));
        }
        let mut next = [0; PRODUCERS as usize];
        let mut cursor = Seq::ZERO;
        while cursor.0 < u64::from(PRODUCERS) * EACH {
            if sequencer.fill(cursor) == 0 && sequencer.stopped() == Stop::Empty {
                sequencer.doorbell().arm();
                if sequencer.has_input() {
                    sequencer.doorbell().disarm();
                } else {
                    thread::park();
                }
                continue;
            }
            let Some(batch) = sequencer.close_batch() else { continue };
            for record in batch.records() {
                assert_eq!(record.seq, cursor.next());
                cursor = record.seq;
                let producer = record.fields.source.0 as usize;
                let number = u64::from_le_bytes(record.payload().bytes().try_into().unwrap());
                assert_eq!(number, next[producer], "of producer {producer}");
                next[producer] += 1;
            }
            sequencer.durable(cursor);
        }
        assert_eq!(next, [EACH; PRODUCERS as usize]);
    });
    assert!(sequencer.is_idle() && !sequencer.owes_receipts());
}

fn produce(ingress: &downbeat_sequencer::Ingress, producer: u32) {
    let fields = Fields { source: SourceId(producer), ..Fields::default() };
    let mut last = Seq::ZERO;
    for number in 0..EACH {
        let payload = number.to_le_bytes();
        if number % RECEIPT_EVERY == 0 {
            let ticket =
                ingress.blocking(|| ingress.try_submit_bytes(&fields, &payload, Ack::Durable)).unwrap();
            let receipt = ticket.wait().unwrap();
            assert!(receipt.seq.0 > last.0);
            last = receipt.seq;
        } else {
            ingress.blocking(|| ingress.try_send_bytes(&fields, &payload)).unwrap();
        }
    }
}
