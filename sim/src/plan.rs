//! What a seed draws before anything happens: how much there is to do, how large things are, how often what fails.

use fastrand::Rng;

use crate::fault::Odds;

/// The world of one seed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Steps before everything stops failing.
    pub steps: u64,
    /// Those who submit.
    pub clients: usize,
    /// What each of them wants to submit.
    pub requests: usize,
    /// Accounts; fewer are more crowded.
    pub accounts: u64,
    /// The longest memo, in bytes.
    pub memo_max: usize,
    /// Shards of the book.
    pub shards: u32,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Segments made ready ahead.
    pub spare_segments: usize,
    /// Writes in flight.
    pub depth: usize,
    /// A batch with so many bytes goes although another one is on its way.
    pub batch_bytes_min: usize,
    /// Events that the order may be ahead of the stages.
    pub window_events: u64,
    /// Events between two checkpoints.
    pub checkpoint_every: u64,
    /// Steps between two crashes, on average.
    pub crash_every: u64,
    /// How often what fails.
    pub odds: Odds,
}

impl Plan {
    /// Draws one.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            steps: rng.u64(200..900),
            clients: rng.usize(1..=4),
            requests: rng.usize(4..24),
            accounts: rng.u64(1..=6),
            memo_max: [16, 200, 3_000][rng.usize(..3)],
            shards: rng.u32(1..=3),
            segment_bytes: SEGMENT_BYTES_MIN + 4096 * rng.u64(0..16),
            spare_segments: rng.usize(1..=2),
            depth: rng.usize(1..=6),
            batch_bytes_min: [1, 512, 4096][rng.usize(..3)],
            window_events: [4, 16, 64][rng.usize(..3)],
            checkpoint_every: [4, 16, 1000][rng.usize(..3)],
            crash_every: [40, 120, 400][rng.usize(..3)],
            odds: Odds::draw(rng),
        }
    }
}

/// The largest batch, on disk.
pub const BATCH_BYTES: usize = 16 << 10;
/// A header, a note and three batches.
pub const SEGMENT_BYTES_MIN: u64 = 2 * 4096 + 3 * BATCH_BYTES as u64;
