//! What is appended everywhere: 64 bytes that begin with a number.

/// One event.
pub(crate) type Event = [u8; 64];

/// Bytes of one.
pub(crate) const EVENT_BYTES: usize = size_of::<Event>();

/// The number that an event begins with.
///
/// # Panics
///
/// When it is shorter than eight bytes.
pub(crate) fn number(event: &[u8]) -> u64 {
    u64::from_le_bytes(*event.first_chunk().expect("an event begins with its number"))
}

/// The events of one commit, made once and numbered anew each time.
pub(crate) struct Events {
    events: Vec<Event>,
    next: u64,
}

impl Events {
    /// `count` events that no compression makes smaller, numbered from 1.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut noise = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut events = vec![[0; EVENT_BYTES]; count];
        for chunk in events.as_flattened_mut().chunks_exact_mut(8) {
            chunk.copy_from_slice(&noise().to_le_bytes());
        }
        Self { events, next: 1 }
    }

    /// The next ones.
    pub(crate) fn next(&mut self) -> &[Event] {
        for event in &mut self.events {
            event[..8].copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_from_commit_to_commit() {
        let mut events = Events::new(3, 7);
        assert_eq!(events.next().iter().map(|event| number(event)).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(events.next().iter().map(|event| number(event)).collect::<Vec<_>>(), [4, 5, 6]);
    }

    #[test]
    fn no_two_events_have_the_same_bytes_behind_the_number() {
        let mut events = Events::new(1_000, 1);
        let mut rest: Vec<_> = events.next().iter().map(|event| event[8..].to_vec()).collect();
        rest.sort_unstable();
        rest.dedup();
        assert_eq!(rest.len(), 1_000);
    }
}
