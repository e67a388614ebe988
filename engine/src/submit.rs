//! Submitting an event: what it is about, how it is recognised, and three ways to wait.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use downbeat_record::{Correlation, Event, Fields, IdempotencyKey, Key, Kind, Seq, SourceId};
use downbeat_sequencer::{Ack, Ingress, Receipt, SubmitError, Ticket};
use event_listener::EventListener;

use crate::error::{Error, ErrorKind};

/// An event about to be submitted. Qualify it, then choose how to wait:
///
/// - `.await` or [`Submission::wait`]: until it is durable (or what [`Submission::ack`] says);
/// - [`Submission::ticket`]: only until there is room; the [`Ticket`] resolves later;
/// - [`Submission::try_ticket`]: not at all;
/// - [`Submission::send`]: only until there is room, and no receipt: the cheapest.
#[must_use = "nothing is submitted until it is awaited, or one of its methods is called"]
pub struct Submission<'a, E> {
    ingress: &'a Ingress,
    event: &'a E,
    kind: Option<Kind>,
    fields: Fields,
    ack: Ack,
}

impl<'a, E: Event> Submission<'a, E> {
    pub(crate) fn new(ingress: &'a Ingress, event: &'a E, kind: Option<Kind>) -> Self {
        let fields = Fields { kind: kind.unwrap_or_default(), ..Fields::default() };
        Self { ingress, event, kind, fields, ack: Ack::Durable }
    }

    /// The entity the event is about. Keyed stages hold one state per key.
    pub fn key(mut self, key: Key) -> Self {
        self.fields.key = key;
        self
    }

    /// The transaction the event belongs to.
    pub fn correlation(mut self, correlation: Correlation) -> Self {
        self.fields.correlation = correlation;
        self
    }

    /// The event that caused this one.
    pub fn causation(mut self, cause: Seq) -> Self {
        self.fields.causation = cause;
        self
    }

    /// What the producer calls this event: submitted again under the same key it changes nothing, and the
    /// receipt is the original one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.fields.idempotency_key = key;
        self
    }

    /// Who submits; below [`SourceId::OF_STAGES`], the numbers above belong to stages.
    pub fn source(mut self, source: SourceId) -> Self {
        self.fields.source = source;
        self
    }

    /// What has to be true before the receipt is given. Default [`Ack::Durable`].
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }

    /// Submits without waiting.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Backpressure`] when there is no room, and as [`Submission::wait`].
    pub fn try_ticket(&self) -> Result<Ticket, Error> {
        self.check()?;
        Ok(self.ingress.try_submit(&self.fields, self.event, self.ack)?)
    }

    /// Submits, blocking the thread only while there is no room.
    ///
    /// # Errors
    ///
    /// As [`Submission::wait`].
    pub fn ticket(&self) -> Result<Ticket, Error> {
        self.check()?;
        Ok(self.ingress.submit_blocking(&self.fields, self.event, self.ack)?)
    }

    /// Submits without a receipt, blocking the thread only while there is no room. A duplicate or a conflict
    /// shows in the metrics only.
    ///
    /// # Errors
    ///
    /// As [`Submission::wait`], without [`ErrorKind::Conflict`].
    pub fn send(&self) -> Result<(), Error> {
        self.check()?;
        Ok(self.ingress.send_blocking(&self.fields, self.event)?)
    }

    /// Submits, and blocks the thread until the receipt is there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`], [`ErrorKind::Invalid`], [`ErrorKind::Closed`], [`ErrorKind::Full`],
    /// [`ErrorKind::Poisoned`]. After `Poisoned` the event may or may not be in the log: submit it again, with
    /// the same idempotency key, to an engine opened anew.
    pub fn wait(&self) -> Result<Receipt, Error> {
        Ok(self.ticket()?.wait()?)
    }

    fn check(&self) -> Result<(), Error> {
        if self.kind.is_none() { Err(undeclared::<E>()) } else { Ok(()) }
    }
}

#[cold]
fn undeclared<E: Event>() -> Error {
    let name = E::NAME;
    let message = format!(
        "event type `{name}` v{} is not declared: put a stage `on` it, or declare it with `Options::event`",
        E::VERSION
    );
    Error::new(ErrorKind::Invalid, message)
}

impl<'a, E: Event> IntoFuture for Submission<'a, E> {
    type Output = Result<Receipt, Error>;
    type IntoFuture = Submitting<'a, E>;

    fn into_future(self) -> Submitting<'a, E> {
        Submitting { submission: self, room: None, ticket: None }
    }
}

/// The future of a [`Submission`]. It allocates nothing unless it has to wait for room.
pub struct Submitting<'a, E> {
    submission: Submission<'a, E>,
    room: Option<EventListener>,
    ticket: Option<Ticket>,
}

impl<E> Unpin for Submitting<'_, E> {}

impl<E: Event> Future for Submitting<'_, E> {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(ticket) = &mut this.ticket {
                return Pin::new(ticket).poll(context).map_err(Error::from);
            }
            if let Some(room) = &mut this.room {
                match Pin::new(room).poll(context) {
                    Poll::Ready(()) => this.room = None,
                    Poll::Pending => return Poll::Pending,
                }
            }
            if let Err(error) = this.submission.check() {
                return Poll::Ready(Err(error));
            }
            let Submission { ingress, event, fields, ack, .. } = &this.submission;
            let attempt = || ingress.try_submit(fields, *event, *ack);
            let (attempt, listener) = match attempt() {
                // Listen first, then try again: room that comes free in between is not missed.
                Err(SubmitError::Backpressure { .. }) => {
                    let listener = ingress.room();
                    (attempt(), Some(listener))
                }
                done => (done, None),
            };
            match attempt {
                Ok(ticket) => this.ticket = Some(ticket),
                Err(SubmitError::Backpressure { .. }) => this.room = listener,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}
