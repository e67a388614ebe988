//! Contracts: name, version and shape of every event type, as the log itself keeps them.
//!
//! ```text
//!  program's types ──Contract::of──┐
//!                                  ▼
//!  log's table ──from_json──► ContractTable ──merge──► new kinds? ──to_json──► Contracts batch
//!                                  │
//!                                  └── same name and version, another shape: refused, naming the field
//! ```
//!
//! Invariants of a [`ContractTable`]: kinds are dense from 1 in order of first use and never change; name and
//! version are unique; every shape passed [`Shape::check`]; what [`ContractTable::to_json`] writes,
//! [`ContractTable::from_json`] reads.

mod diff;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Shown;
use crate::event::Event;
use crate::ids::Kind;
use crate::shape::{Shape, ShapeError};

pub use crate::shape::NAME_LEN_MAX;
pub use diff::{Change, Changed, Diff, Verdict, diff};

/// The longest JSON that is read as a table, in bytes.
pub const TABLE_LEN_MAX: usize = 64 << 20;

/// How much a parser may say about what is no table, in characters.
pub(crate) const REASON_MAX: usize = 400;

/// Name, version and shape of an event type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Its name, unique within a log together with the version.
    pub name: String,
    /// Its version, from 1.
    pub version: u16,
    /// What the bytes of its payloads mean.
    pub shape: Shape,
}

impl Contract {
    /// The contract of an event type of this program.
    pub fn of<E: Event>() -> Self {
        Self { name: E::NAME.to_owned(), version: E::VERSION, shape: E::shape() }
    }
}

/// Why a contract or a table is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// The log has this name and version with another shape.
    #[error("contract `{name}` v{version}: {diff}; declare it as v{next}", next = u32::from(*version) + 1)]
    Changed {
        /// The contract's name.
        name: String,
        /// The contract's version.
        version: u16,
        /// What is different; never empty.
        diff: Diff,
    },
    /// A shape that cannot stand in a log.
    #[error("contract `{name}` v{version}: {error}")]
    Shape {
        /// The contract's name.
        name: String,
        /// The contract's version.
        version: u16,
        /// What is wrong with it.
        error: ShapeError,
    },
    /// A name that no contract can have, or version 0.
    #[error(
        "{name:?} v{version} is no contract: a name is 1 to {NAME_LEN_MAX} ASCII letters, digits, `.`, `_`, `-`, `:` \
         or `/`, and versions start at 1"
    )]
    Name {
        /// The name, of one that is too long the beginning.
        name: String,
        /// The version.
        version: u16,
    },
    /// The table is full.
    #[error("a log holds at most {} contracts", u16::MAX)]
    Full,
    /// The bytes are not the JSON of a table.
    #[error("not a contract table: {}", Shown(reason))]
    Json {
        /// What the parser said.
        reason: String,
    },
    /// The same name and version stands in a table twice.
    #[error("contract `{name}` v{version} stands in the table twice")]
    Twice {
        /// The contract's name.
        name: String,
        /// The contract's version.
        version: u16,
    },
    /// A later table of a log does not start with the contracts of an earlier one.
    #[error(
        "kind {kind} was `{name}` v{version} in an earlier contract table of this log and is not in this one"
    )]
    Renumbered {
        /// The kind in question.
        kind: Kind,
        /// Whose kind it was.
        name: String,
        /// Its version.
        version: u16,
    },
}

/// The contracts of a log, numbered in order of first use.
///
/// ```
/// use downbeat_record::{Contract, ContractTable, Event, Kind, rkyv};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// struct Deposited { account: u64, cents: i64 }
///
/// let mut log = ContractTable::new();
/// assert_eq!(log.merge([Contract::of::<Deposited>()])?, 1);
/// assert_eq!(log.kind_of_event::<Deposited>(), Some(Kind(1)));
///
/// // The log is opened again by a program whose type has changed.
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(name = "Deposited")]
/// struct Changed { account: u64, cents: i64, currency: String }
///
/// let mut log = ContractTable::from_json(&log.to_json())?;
/// let error = log.merge([Contract::of::<Changed>()]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "contract `Deposited` v1: field `currency` was added; declare it as v2",
/// );
/// # Ok::<(), downbeat_record::ContractError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContractTable {
    /// The contract of kind `n` stands at `n - 1`.
    contracts: Vec<Contract>,
    kinds: BTreeMap<String, BTreeMap<u16, Kind>>,
}

/// An entry as it is written.
#[derive(Serialize)]
struct WrittenContract<'a> {
    kind: Kind,
    #[serde(flatten)]
    contract: &'a Contract,
}

/// An entry as it is read, checked by nobody yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadContract {
    kind: Kind,
    name: String,
    version: u16,
    shape: Shape,
}

impl ContractTable {
    /// A table without contracts.
    pub fn new() -> Self {
        Self::default()
    }

    /// The kind of a contract: the one it has, or the next free one.
    ///
    /// # Errors
    ///
    /// [`ContractError::Changed`] when name and version stand for another shape; otherwise the contract is one
    /// that no log can hold, or the table is full. After an error the table is as it was.
    pub fn register(&mut self, contract: Contract) -> Result<Kind, ContractError> {
        if let Some(kind) = self.check(&contract)? {
            return Ok(kind);
        }
        let next = u16::try_from(self.contracts.len() + 1).map_err(|_| ContractError::Full)?;
        let kind = Kind(next);
        self.kinds.entry(contract.name.clone()).or_default().insert(contract.version, kind);
        self.contracts.push(contract);
        Ok(kind)
    }

    /// Registers all of them, or none: the contracts of a program with those of a log. Returns how many are
    /// new; when some are, the log needs the table written again before the first event that uses one.
    ///
    /// # Errors
    ///
    /// As [`ContractTable::register`], for the first contract that is refused.
    pub fn merge(&mut self, contracts: impl IntoIterator<Item = Contract>) -> Result<usize, ContractError> {
        let mut merged = self.clone();
        for contract in contracts {
            merged.register(contract)?;
        }
        let new = merged.len() - self.len();
        *self = merged;
        Ok(new)
    }

    /// The kind that the contract has, `None` when it may be added.
    fn check(&self, contract: &Contract) -> Result<Option<Kind>, ContractError> {
        let Contract { name, version, shape } = contract;
        let (name, version) = (name.clone(), *version);
        if !is_name(&name) || version == 0 {
            return Err(ContractError::Name { name: name.chars().take(NAME_LEN_MAX + 1).collect(), version });
        }
        if let Err(error) = shape.check() {
            return Err(ContractError::Shape { name, version, error });
        }
        let Some(kind) = self.kind_of(&name, version) else { return Ok(None) };
        let known = self.get(kind).expect("a kind that was given out has a contract");
        let diff = diff(&known.shape, shape);
        match diff.verdict() {
            Verdict::Identical => Ok(Some(kind)),
            _ => Err(ContractError::Changed { name, version, diff }),
        }
    }

    /// The contract of a kind; `None` for a kind that this log has not given out.
    #[inline]
    pub fn get(&self, kind: Kind) -> Option<&Contract> {
        self.contracts.get(usize::from(kind.0).checked_sub(1)?)
    }

    /// The kind of a contract of this log.
    pub fn kind_of(&self, name: &str, version: u16) -> Option<Kind> {
        self.kinds.get(name)?.get(&version).copied()
    }

    /// The kind of an event type in this log.
    pub fn kind_of_event<E: Event>(&self) -> Option<Kind> {
        self.kind_of(E::NAME, E::VERSION)
    }

    /// The versions of a contract, lowest first.
    pub fn versions(&self, name: &str) -> impl Iterator<Item = (u16, Kind)> {
        self.kinds.get(name).into_iter().flatten().map(|(version, kind)| (*version, *kind))
    }

    /// All contracts in order of their kinds.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Kind, &Contract)> {
        self.contracts.iter().enumerate().map(|(index, contract)| (Kind(index as u16 + 1), contract))
    }

    /// How many contracts there are.
    pub fn len(&self) -> usize {
        self.contracts.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.contracts.is_empty()
    }

    /// Makes sure that this table continues an earlier one of the same log: every kind of that one means the
    /// same here.
    ///
    /// # Errors
    ///
    /// [`ContractError::Renumbered`] or [`ContractError::Changed`] for the first kind that does not.
    pub fn continues(&self, earlier: &Self) -> Result<(), ContractError> {
        for (kind, before) in earlier.iter() {
            let (name, version) = (before.name.clone(), before.version);
            let Some(after) = self.get(kind).filter(|after| after.name == name && after.version == version)
            else {
                return Err(ContractError::Renumbered { kind, name, version });
            };
            let diff = diff(&before.shape, &after.shape);
            if diff.verdict() != Verdict::Identical {
                return Err(ContractError::Changed { name, version, diff });
            }
        }
        Ok(())
    }

    /// The body of a [`Contracts`](crate::BatchKind::Contracts) batch: the whole table, one contract a line.
    pub fn to_json(&self) -> Vec<u8> {
        let lines = self.iter().map(|(kind, contract)| {
            serde_json::to_string(&WrittenContract { kind, contract }).expect("a contract has text keys only")
        });
        let lines: Vec<String> = lines.collect();
        format!("[\n{}\n]\n", lines.join(",\n")).into_bytes()
    }

    /// Reads a table that may come from anyone.
    ///
    /// # Errors
    ///
    /// [`ContractError::Json`] when the bytes are not one, otherwise the contract that is refused. Depth,
    /// counts and sizes are bounded, see [`Shape::check`] and [`TABLE_LEN_MAX`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ContractError> {
        if bytes.len() > TABLE_LEN_MAX {
            let reason = format!("{} bytes are more than {TABLE_LEN_MAX}", bytes.len());
            return Err(ContractError::Json { reason });
        }
        let entries: Vec<ReadContract> = serde_json::from_slice(bytes)
            // It quotes what it does not know, however long that is.
            .map_err(|error| ContractError::Json {
                reason: error.to_string().chars().take(REASON_MAX).collect(),
            })?;
        let mut table = Self::new();
        for ReadContract { kind, name, version, shape } in entries {
            if table.kind_of(&name, version).is_some() {
                return Err(ContractError::Twice { name, version });
            }
            let given = table.register(Contract { name, version, shape })?;
            if given != kind {
                let reason = format!("kind {kind} stands where kind {given} should");
                return Err(ContractError::Json { reason });
            }
        }
        Ok(table)
    }
}

/// The rule that the derive checks too.
fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "._-:/".contains(c);
    !name.is_empty() && name.len() <= NAME_LEN_MAX && name.chars().all(known)
}
