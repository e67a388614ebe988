//! What can go wrong in the world, how often it does under one seed, and how often it did.

use fastrand::Rng;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One kind of thing that goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// Every kind, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    /// The power goes, at any operation of the disk.
    PowerCut,
    /// The process is killed; the kernel lives on.
    Kill,
    /// The process ends in order, in the middle of everything.
    Close,
    /// A second process opens the log while the first one has it.
    SecondOpener,
    /// A second power cut or error while the log is being opened.
    CutWhileOpening,
    /// An unsynced write that a power cut left out.
    UnsyncedLost,
    /// An unsynced write of which a power cut left some sectors, old, zero or garbage.
    UnsyncedTorn,
    /// Names or lengths that a power cut took back.
    NamesLost,
    /// A write of a killed process that reaches the file after the next one has opened it.
    Lingering,
    /// A write that ends short.
    ShortWrite,
    /// A write or sync that ends with `EINTR` or `EAGAIN`.
    Interrupted,
    /// A write that ends with an error.
    WriteError,
    /// A sync that ends with an error, and forgets what it should have made durable.
    SyncError,
    /// A create, rename, remove, directory sync or reservation that ends with an error.
    NameError,
    /// A read that ends with an error, once.
    ReadError,
    /// No space, until there is some again.
    DiskFull,
    /// A completion that comes late.
    Late,
    /// A completion that comes a thousand times later than others.
    Slow,
    /// A completion that overtakes an earlier one.
    Reordered,
    /// A completion that comes twice.
    Doubled,
    /// A completion that never comes.
    Unheard,
    /// A write that the device confirms and does not do.
    LostWrite,
    /// A write that the device puts somewhere else in the file.
    Misdirected,
    /// A bit of durable data that flips.
    BitRot,
    /// A sector of durable data that becomes zeros, garbage or what is beside it.
    SectorRot,
    /// A sector that can no longer be read.
    LatentError,
    /// The clock leaps ahead, by up to a year.
    ClockAhead,
    /// The clock leaps back, by up to a year.
    ClockBack,
    /// The clock stands.
    ClockFrozen,
    /// The stages crash and are rebuilt from the log.
    StagesCrash,
    /// One stage is a hundred times slower for a while.
    SlowStage,
    /// A client gives up waiting and submits again.
    ClientTimeout,
    /// A client submits what it has submitted already.
    ClientDuplicate,
    /// A client crashes and knows no more what it was told.
    ClientCrash,
    /// A client submits other bytes under a key that it has used.
    ClientConflict,
}

const COUNT: usize = Fault::ALL.len();
/// What odds are fractions of.
const ONE: u32 = 1 << 20;

/// How often each fault happens where it can.
#[derive(Clone, Debug)]
pub struct Odds([u32; COUNT]);

impl Odds {
    /// Nothing goes wrong.
    pub const NONE: Self = Self([0; COUNT]);

    /// Each kind is off under half of all seeds, and otherwise anything from rare to often: a world in which
    /// everything fails at once never gets far enough for the interesting failures.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut odds = [0; COUNT];
        for odd in &mut odds {
            if rng.bool() {
                // Evenly in the exponent: one in 4096 to one in 8.
                *odd = (ONE >> 12) << rng.u32(0..=9);
            }
        }
        let mut odds = Self(odds);
        // One try in a while says as much as many.
        odds.set(Fault::SecondOpener, odds.0[Fault::SecondOpener as usize] >> 4);
        if !odds.can(Fault::PowerCut) && !odds.can(Fault::Kill) {
            odds.set(Fault::PowerCut, ONE);
        }
        // Damage that no crash explains ends what a seed can show; it is rare, and absent under most seeds.
        for fault in [Fault::LostWrite, Fault::Misdirected, Fault::Unheard, Fault::Doubled] {
            let draw = odds.0[fault as usize] >> 1;
            odds.set(fault, if rng.u8(..4) == 0 { draw } else { 0 });
        }
        odds
    }

    /// Sets one of them, in fractions of 2^20.
    pub fn set(&mut self, fault: Fault, odds: u32) {
        self.0[fault as usize] = odds;
    }

    /// True when the fault is to happen.
    pub fn hit(&self, fault: Fault, rng: &mut Rng) -> bool {
        let odds = self.0[fault as usize];
        odds > 0 && rng.u32(..ONE) < odds
    }

    /// True when the fault can happen under this seed.
    pub fn can(&self, fault: Fault) -> bool {
        self.0[fault as usize] > 0
    }
}

/// How often each fault happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected([u64; COUNT]);

impl Default for Injected {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl Injected {
    /// Counts one.
    pub fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often a kind happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds what happened elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}
