//! A client: submits what it wants to submit, and does not always behave.
//!
//! Its requests have idempotency keys, so whatever it does (gives up waiting, submits twice, forgets what it was
//! told, comes back after the process has died), each of them may have one place in the log and no more.

use downbeat_record::{AlignedBuf, Event, Fields, IdempotencyKey, Key, SourceId};
use downbeat_sequencer::{Ack, Group, Ingress, SubmitError, Ticket};
use fastrand::Rng;

use crate::bank::{Deposited, Moved};
use crate::fault::{Fault, Injected, Odds};
use crate::process::Program;
use crate::trace::{Trace, note};
use crate::truth::{Truth, Violation, hold};

/// Steps after which a client that may give up does.
const PATIENCE: u64 = 40;

pub(crate) struct Client {
    name: usize,
    requests: Vec<Request>,
    /// The request it is at.
    at: usize,
    tickets: Vec<Ticket>,
    /// Submissions of used keys with other bytes.
    probes: Vec<Ticket>,
    since: u64,
}

/// Events that are submitted together: one, or a group.
struct Request {
    keys: Vec<IdempotencyKey>,
    events: Vec<(Fields, Vec<u8>)>,
}

/// Something a client notices, changes or breaks.
pub(crate) struct Around<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) odds: &'a Odds,
    pub(crate) injected: &'a mut Injected,
    pub(crate) truth: &'a mut Truth,
    pub(crate) trace: &'a Trace,
    pub(crate) tick: u64,
}

impl Around<'_> {
    fn hit(&mut self, fault: Fault) -> bool {
        let hit = self.odds.hit(fault, self.rng);
        if hit {
            self.injected.add(fault);
        }
        hit
    }
}

impl Client {
    pub(crate) fn draw(name: usize, program: &Program, rng: &mut Rng) -> Self {
        let requests =
            (0..program.plan.requests).map(|number| Request::draw(name, number, program, rng)).collect();
        Self { name, requests, at: 0, tickets: Vec::new(), probes: Vec::new(), since: 0 }
    }

    /// Every key it will use.
    pub(crate) fn keys(&self) -> impl Iterator<Item = IdempotencyKey> {
        self.requests.iter().flat_map(|request| request.keys.iter().copied())
    }

    /// The keys of each of its groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Vec<IdempotencyKey>> {
        self.requests.iter().filter(|request| request.keys.len() > 1).map(|request| request.keys.clone())
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at == self.requests.len() && self.probes.is_empty()
    }

    /// The process is gone, and every ticket with it.
    pub(crate) fn disconnect(&mut self) {
        self.tickets.clear();
        self.probes.clear();
    }

    pub(crate) fn step(&mut self, ingress: &Ingress, mut around: Around<'_>) -> Result<(), Violation> {
        self.look(&mut around)?;
        if around.hit(Fault::ClientCrash) {
            note!(around.trace, "  client {} crashes", self.name);
            self.disconnect();
            // It knows its requests by heart, but not how far it was.
            self.at = around.rng.usize(..=self.at);
        }
        let waited = around.tick - self.since;
        if !self.tickets.is_empty() && waited > PATIENCE && around.hit(Fault::ClientTimeout) {
            note!(around.trace, "  client {} gives up waiting", self.name);
            self.tickets.clear();
        }
        let again = self.tickets.len() == 1 && around.hit(Fault::ClientDuplicate);
        if self.at < self.requests.len() && (self.tickets.is_empty() || again) {
            self.submit(ingress, &mut around)?;
        }
        if self.at > 0 && self.probes.is_empty() && around.hit(Fault::ClientConflict) {
            self.probe(ingress, &mut around);
        }
        Ok(())
    }

    /// Looks at what its tickets became.
    fn look(&mut self, around: &mut Around<'_>) -> Result<(), Violation> {
        let mut answered = false;
        for ticket in std::mem::take(&mut self.tickets) {
            if !ticket.is_done() {
                self.tickets.push(ticket);
                continue;
            }
            match ticket.wait() {
                Ok(receipt) => {
                    let again = if receipt.duplicate { ", again" } else { "" };
                    note!(
                        around.trace,
                        "  client {}: {} stands at {}{again}",
                        self.name,
                        self.at,
                        receipt.seq
                    );
                    // A second ticket is of the same request, and has to say the same.
                    let Some(request) = self.requests.get(self.at) else { break };
                    around.truth.acknowledged(&request.keys, receipt)?;
                    answered = true;
                }
                Err(SubmitError::Poisoned { .. }) => {}
                Err(other) => hold!(false, ExactlyOnce, "client {} was told: {other}", self.name),
            }
        }
        if answered {
            self.at += 1;
            self.tickets.clear();
        }
        for probe in std::mem::take(&mut self.probes) {
            if !probe.is_done() {
                self.probes.push(probe);
                continue;
            }
            let told = probe.wait();
            let refused = matches!(told, Err(SubmitError::Conflict { .. } | SubmitError::Poisoned { .. }));
            hold!(refused, ExactlyOnce, "other bytes under a used key gave {told:?}");
        }
        Ok(())
    }

    fn submit(&mut self, ingress: &Ingress, around: &mut Around<'_>) -> Result<(), Violation> {
        let request = &self.requests[self.at];
        let ticket = match &request.events[..] {
            [(fields, payload)] => ingress.try_submit_bytes(fields, payload, Ack::Durable),
            events => {
                let mut group = Group::new();
                let pushed =
                    events.iter().try_for_each(|(fields, payload)| group.push_bytes(fields, payload));
                pushed.and_then(|()| ingress.try_submit_all(&group, Ack::Durable))
            }
        };
        match ticket {
            Ok(ticket) => {
                note!(around.trace, "  client {} submits {}", self.name, self.at);
                self.tickets.push(ticket);
                self.since = around.tick;
            }
            Err(
                SubmitError::Backpressure { .. } | SubmitError::Full { .. } | SubmitError::Poisoned { .. },
            ) => {}
            Err(other) => hold!(false, Convergence, "client {} cannot submit: {other}", self.name),
        }
        Ok(())
    }

    /// Submits something else under a key that is used.
    fn probe(&mut self, ingress: &Ingress, around: &mut Around<'_>) {
        let used = &self.requests[around.rng.usize(..self.at)];
        let (mut fields, payload) = used.events[0].clone();
        fields.key = Key(fields.key.0 + 1_000);
        if let Ok(ticket) = ingress.try_submit_bytes(&fields, &payload, Ack::Durable) {
            self.probes.push(ticket);
        }
    }
}

impl Request {
    fn draw(client: usize, number: usize, program: &Program, rng: &mut Rng) -> Self {
        let plan = &program.plan;
        let count = if rng.u8(..6) == 0 { rng.usize(2..=3) } else { 1 };
        let mut keys = Vec::new();
        let mut events = Vec::new();
        for part in 0..count {
            let key = IdempotencyKey((client << 32 | number << 4 | part) as u128 + 1);
            let fields = Fields {
                source: SourceId(client as u32 + 1),
                key: Key(rng.u64(1..=plan.accounts)),
                idempotency_key: key,
                ..Fields::default()
            };
            let cents = rng.u64(1..100);
            let (kind, payload) = if rng.bool() {
                let memo = vec![rng.u8(..); rng.usize(..=plan.memo_max)];
                (program.kind::<Deposited>(), bytes(&Deposited { cents, memo }))
            } else {
                (program.kind::<Moved>(), bytes(&Moved { to: rng.u64(1..=plan.accounts), cents }))
            };
            keys.push(key);
            events.push((Fields { kind, ..fields }, payload));
        }
        Self { keys, events }
    }
}

fn bytes<E: Event>(event: &E) -> Vec<u8> {
    let mut bytes = AlignedBuf::zeroed(event.encoded_len_max());
    let len = event.encode(&mut bytes).expect("a buffer of encoded_len_max holds the event");
    bytes[..len].to_vec()
}
