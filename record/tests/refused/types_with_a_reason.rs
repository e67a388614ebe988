//! Types whose bytes or order differ, each with its reason.

use downbeat_record::{Event, Shaped};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

#[derive(Event)]
struct Refused {
    count: usize,
    difference: Option<isize>,
    map: HashMap<String, u64>,
    set: Vec<HashSet<u64>>,
    tree: BTreeMap<u64, u64>,
    shared: Rc<String>,
    atomic: (u8, Arc<String>),
    weak: [std::sync::Weak<u8>; 2],
    borrowed: &'static str,
}

#[derive(Shaped)]
enum Choice {
    Fine(u64),
    Wrong { count: usize },
}

fn main() {}
