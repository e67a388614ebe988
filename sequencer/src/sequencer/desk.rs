//! One entry of a ring: offered to the order, and its producer answered, at once or when the watermark has come.
//!
//! | placed | `Ack::Ordered` | `Ack::Durable` |
//! |---|---|---|
//! | new | receipt at once | receipt when its last event is durable |
//! | duplicate | original receipt at once | original receipt when the original is durable |
//! | conflict | error at once | error at once |

use downbeat_record::{Batch, Seq, Timestamp};

use super::{Stats, Stop};
use crate::entry::{Events, Tag};
use crate::ingress::Shared;
use crate::order::{Order, Placed};
use crate::ring::Entry;
use crate::ticket::{Ack, Outcome, Owed, OwedQueue, Receipt, TicketId};
use crate::window::Original;

/// What an entry became, and how many events it stands for.
pub(super) struct Answer {
    placed: Placed,
    count: u64,
    bytes: u64,
}

/// Offers one entry to the order. Precondition: as [`Order::place`].
#[inline(always)]
pub(super) fn place(
    order: &mut Order,
    batch: &mut Batch,
    now: Timestamp,
    tag: Tag,
    entry: Entry<'_>,
    limit: u64,
) -> Result<Answer, Stop> {
    let mut events = Events::of(entry.body);
    let (count, bytes, placed);
    if tag.group {
        (count, bytes) =
            events.fold((0, 0), |(count, bytes), (_, payload)| (count + 1, bytes + payload.len() as u64));
        if order.next_seq().0 + count - 1 > limit {
            return Err(Stop::Window);
        }
        placed = order.place_group(now, events, batch);
    } else {
        if order.next_seq().0 > limit {
            return Err(Stop::Window);
        }
        let (fields, payload) = events.next().expect("an entry holds an event");
        (count, bytes) = (1, payload.len() as u64);
        placed = order.place(now, &fields, payload, batch);
    }
    if placed == Placed::BatchFull {
        assert!(!batch.is_empty(), "{} bytes do not fit into an empty batch", entry.body.len());
        return Err(Stop::BatchFull);
    }
    Ok(Answer { placed, count, bytes })
}

/// Where answers are given: at once, or when the watermark has come.
pub(super) struct Desk<'s> {
    shared: &'s Shared,
    owed: &'s mut OwedQueue,
    durable: Seq,
    stats: &'s mut Stats,
}

impl<'s> Desk<'s> {
    pub(super) fn new(
        shared: &'s Shared,
        owed: &'s mut OwedQueue,
        durable: Seq,
        stats: &'s mut Stats,
    ) -> Self {
        Self { shared, owed, durable, stats }
    }

    #[inline]
    pub(super) fn answer(&mut self, tag: Tag, answer: Answer) {
        let (first, duplicate) = match answer.placed {
            Placed::New { first } => {
                self.stats.bytes += answer.bytes;
                (first, false)
            }
            Placed::Duplicate { first } => {
                self.stats.duplicates += 1;
                (first, true)
            }
            Placed::Conflict { original } => {
                self.stats.conflicts += 1;
                if let Some((id, _)) = tag.ticket {
                    self.complete(id, Outcome::Conflict(receipt(original, false)));
                }
                return;
            }
            Placed::BatchFull => unreachable!("a full batch is no answer"),
        };
        let Some((id, ack)) = tag.ticket else { return };
        let receipt = receipt(first, duplicate);
        let gate = Seq(first.seq.0 + answer.count - 1);
        if ack == Ack::Ordered || gate <= self.durable {
            self.complete(id, Outcome::Placed(receipt));
        } else {
            self.owed.push(Owed { gate, id, receipt });
        }
    }

    /// A ring held that many bytes.
    pub(super) fn note_fill(&mut self, bytes: usize) {
        self.stats.fill_max = self.stats.fill_max.max(bytes);
    }

    fn complete(&self, id: TicketId, outcome: Outcome) {
        if self.shared.slab.complete(id, outcome) {
            self.shared.room.notify(usize::MAX);
        }
    }
}

#[inline]
fn receipt(original: Original, duplicate: bool) -> Receipt {
    Receipt { seq: original.seq, timestamp: original.timestamp, duplicate }
}
