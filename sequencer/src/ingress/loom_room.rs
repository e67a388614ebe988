//! Model of waiting for room: a producer that a full ring refused is woken once there is room.

use loom::thread;

use super::*;
use crate::loom_mutants::check;

/// Bytes of an entry of one cell.
const ONE_CELL: usize = 48;

fn try_put(ingress: &Ingress, tag: u64) -> Result<(), SubmitError> {
    let claim = ingress.ring().claim(ONE_CELL).map_err(|refused| ingress.refused(refused))?;
    claim.commit(ONE_CELL, tag);
    Ok(())
}

/// A full ring of two cells; the sequencer takes both entries while a producer waits for room.
fn room() {
    let settings = Settings { ring_bytes: 128, derived_ring_bytes: 128, tickets: 1, ..Settings::default() };
    let (shared, [_, mut drain]) = Shared::new(&settings, 1, None);
    let ingress = Ingress::new(shared.clone(), Lane::Outside);
    (1..=2).for_each(|tag| try_put(&ingress, tag).unwrap());
    let waiting = ingress.clone();
    let producer = thread::spawn(move || waiting.blocking(|| try_put(&waiting, 3)).unwrap());
    for tag in 1..=2 {
        assert_eq!(drain.peek().map(|entry| entry.tag), Some(tag));
        drain.advance();
        shared.give_room(&mut drain, false);
    }
    producer.join().unwrap();
    assert_eq!(drain.peek().map(|entry| entry.tag), Some(3));
}

#[test]
fn a_producer_that_waits_for_room_is_woken_when_there_is_some() {
    check(room);
}
