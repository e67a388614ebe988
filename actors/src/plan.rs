//! Which stages run in which actor, and which lanes there are between them: the flow, laid out.

use downbeat_flow::{Flow, StageId};

/// One worker: a group of stages, for one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stages: Vec<StageId>,
    pub(crate) keyed: bool,
    pub(crate) shard: u32,
    /// The workers it has lanes to, and on which stages may send.
    pub(crate) to: Vec<(usize, usize)>,
    /// The leaves it has lanes to, likewise.
    pub(crate) to_leaves: Vec<(usize, usize)>,
    /// The workers it has lanes from.
    pub(crate) from: Vec<usize>,
    /// The shard group it belongs to: workers that lanes tie together fail and are rebuilt together, also by way of a leaf,
    /// which delivers for none of them what another has not passed.
    pub(crate) group: usize,
}

/// The layout of a flow over workers.
pub(crate) struct Plan {
    pub(crate) workers: Vec<Place>,
    pub(crate) groups: usize,
    pub(crate) shards: u32,
    /// Per leaf, the workers it gets values from.
    pub(crate) leaves: Vec<Vec<usize>>,
}

impl Plan {
    pub(crate) fn new(flow: &Flow, shards: u32) -> Self {
        let mut workers = Vec::new();
        for stages in flow.groups() {
            let keyed = flow.stage(stages[0]).keyed;
            for shard in 0..if keyed { shards } else { 1 } {
                workers.push(Place {
                    stages: stages.clone(),
                    keyed,
                    shard,
                    to: Vec::new(),
                    to_leaves: Vec::new(),
                    from: Vec::new(),
                    group: 0,
                });
            }
        }
        for from in 0..workers.len() {
            for to in 0..workers.len() {
                let sending = senders(flow, &workers[from], &workers[to].stages);
                let same_shard = workers[from].shard == workers[to].shard;
                let apart = workers[from].keyed && workers[to].keyed && !same_shard;
                if from != to && sending > 0 && !apart {
                    workers[from].to.push((to, sending));
                    workers[to].from.push(from);
                }
            }
        }
        let mut leaves = vec![Vec::new(); flow.leaves().len()];
        for (leaf, def) in flow.leaves().iter().enumerate() {
            for (index, worker) in workers.iter_mut().enumerate() {
                let sending = worker.stages.iter().filter(|stage| def.after.contains(stage)).count();
                if sending > 0 {
                    worker.to_leaves.push((leaf, sending));
                    leaves[leaf].push(index);
                }
            }
        }
        let groups = tie(&mut workers, &leaves);
        Self { workers, groups, shards, leaves }
    }

    /// How many reports make a checkpoint: one per stage and shard.
    pub(crate) fn reports(&self) -> usize {
        self.workers.iter().map(|worker| worker.stages.len()).sum()
    }
}

/// How many stages of `from` send to any of `stages`.
fn senders(flow: &Flow, from: &Place, stages: &[StageId]) -> usize {
    from.stages.iter().filter(|id| stages.iter().any(|stage| flow.stage(*stage).after.contains(id))).count()
}

/// Numbers the connected parts of the graph.
fn tie(workers: &mut [Place], leaves: &[Vec<usize>]) -> usize {
    let mut group = vec![usize::MAX; workers.len()];
    let mut groups = 0;
    for start in 0..workers.len() {
        if group[start] != usize::MAX {
            continue;
        }
        let mut reach = vec![start];
        while let Some(at) = reach.pop() {
            if group[at] == usize::MAX {
                group[at] = groups;
                reach.extend(workers[at].to.iter().map(|(to, _)| *to));
                reach.extend(&workers[at].from);
                reach.extend(workers[at].to_leaves.iter().flat_map(|(leaf, _)| &leaves[*leaf]));
            }
        }
        groups += 1;
    }
    workers.iter_mut().zip(group).for_each(|(worker, group)| worker.group = group);
    groups
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use downbeat_flow::{Context, Delivery, Leaf, LeafError, Out, Reject, Rejected, Stage};

    use super::*;

    struct Passes;

    impl Stage for Passes {
        type State = ();
        type Output = Rejected;

        fn apply(&self, (): &mut (), _: &Context<'_>, _: &mut Out<'_, Rejected>) -> Result<(), Reject> {
            Ok(())
        }
    }

    struct Ends;

    impl Leaf for Ends {
        fn deliver(&mut self, _: &Delivery<'_>) -> Result<(), LeafError> {
            Ok(())
        }
    }

    /// Found by reading: a shard that was built again waited for the leaf, the leaf for another shard that had crashed
    /// meanwhile, and that one to be built again after the first.
    #[test]
    fn shards_that_end_in_one_leaf_fail_together() {
        let stages = || Flow::named("flow").stage("one", Passes).on::<Rejected>();
        let apart = Plan::new(&stages().build().unwrap(), 3);
        assert_eq!((apart.workers.len(), apart.groups), (3, 3));
        let together = stages().leaf("leaf", Ends).after(["one"]).build().unwrap();
        let together = Plan::new(&together, 3);
        assert_eq!((together.workers.len(), together.groups), (3, 1));
    }
}
