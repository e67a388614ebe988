//! Which type each kind stands for, a word for each, so that one comparison tells.

use downbeat_record::{ContractTable, Event, Kind};

/// The kinds that a log has contracts for; where there are no contracts, all kinds, of any type.
pub(crate) struct Kinds {
    /// From kind 1 on.
    marks: Box<[u64]>,
    any: bool,
}

impl Kinds {
    pub(crate) fn new(contracts: Option<&ContractTable>) -> Self {
        let marks = contracts.into_iter().flat_map(ContractTable::iter);
        let marks = marks.map(|(_, contract)| mark_of(&contract.name, contract.version)).collect();
        Self { marks, any: contracts.is_none() }
    }

    #[inline]
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.mark(kind).is_some() || self.any
    }

    /// True when it is the kind of events of that type.
    #[inline]
    pub(crate) fn is(&self, kind: Kind, of: TypeName) -> bool {
        self.mark(kind) == Some(of.mark) || self.any
    }

    #[inline]
    fn mark(&self, kind: Kind) -> Option<u64> {
        self.marks.get(usize::from(kind.0).wrapping_sub(1)).copied()
    }
}

/// An event type as a contract names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TypeName {
    pub(crate) name: &'static str,
    pub(crate) version: u16,
    mark: u64,
}

impl TypeName {
    /// Made by the compiler.
    #[inline]
    pub(crate) const fn of<E: Event>() -> Self {
        Self { name: E::NAME, version: E::VERSION, mark: const { mark_of(E::NAME, E::VERSION) } }
    }
}

/// FNV-1a of version and name, which is short enough for a `const`. Two types with one mark, which is less likely than any
/// other accident, are taken for each other.
const fn mark_of(name: &str, version: u16) -> u64 {
    let (name, version) = (name.as_bytes(), version.to_le_bytes());
    let mut hash = step(step(0xcbf2_9ce4_8422_2325, version[0]), version[1]);
    let mut index = 0;
    while index < name.len() {
        hash = step(hash, name[index]);
        index += 1;
    }
    hash
}

const fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_fnv_1a_of_version_and_name() {
        // "foobar" is in the table of its authors: <http://www.isthe.com/chongo/tech/comp/fnv/>.
        assert_eq!(mark_of("obar", u16::from_le_bytes(*b"fo")), 0x8594_4171_f739_67e8);
    }
}
