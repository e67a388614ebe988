//! A flow that cannot work is refused when it is described, by name.

use std::collections::HashMap;

use downbeat_flow::{
    Context, Delivery, Flow, FlowBuilder, FlowError, Leaf, LeafError, Nothing, Out, Reject, STAGES_MAX,
    Stage, source_of,
};
use downbeat_record::{Event, rkyv};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "test.Ping", version = 1)]
struct Ping {
    n: u64,
}

struct Sends;

impl Stage for Sends {
    type State = ();
    type Output = Ping;

    fn apply(&self, (): &mut (), _: &Context<'_>, _: &mut Out<'_, Ping>) -> Result<(), Reject> {
        Ok(())
    }
}

struct Silent;

impl Stage for Silent {
    type State = ();
    type Output = Nothing;

    fn apply(&self, (): &mut (), _: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        Ok(())
    }
}

struct Sink;

impl Leaf for Sink {
    fn deliver(&mut self, _: &Delivery<'_>) -> Result<(), LeafError> {
        Ok(())
    }
}

fn refused(flow: FlowBuilder) -> (FlowError, String) {
    let error = flow.build().expect_err("the flow cannot work");
    let message = error.to_string();
    (error, message)
}

#[test]
fn what_comes_after_nothing_known_is_refused() {
    let (_, message) =
        refused(Flow::named("f").stage("b", Sends).after(["a"]).stage("a", Sends).on::<Ping>());
    assert_eq!(message, "`b` comes after `a`, which is not declared before it");
    let (_, message) = refused(Flow::named("f").stage("a", Sends).on::<Ping>().after(["a"]));
    assert_eq!(message, "`a` comes after `a`, which is not declared before it");
}

#[test]
fn what_nothing_reaches_is_refused() {
    let (_, message) = refused(Flow::named("f").stage("a", Sends));
    assert_eq!(message, "stage `a` is on no event and after no stage: nothing would reach it");
    let (_, message) = refused(Flow::named("f").stage("a", Sends).on::<Ping>().leaf("l", Sink));
    assert_eq!(message, "leaf `l` is after no stage: nothing would reach it");
}

#[test]
fn waiting_for_a_stage_that_sends_nothing_is_refused() {
    let (_, message) = refused(Flow::named("f").stage("a", Silent).on::<Ping>().leaf("l", Sink).after(["a"]));
    assert_eq!(message, "`l` comes after `a`, which sends nothing");
}

#[test]
fn names_are_unique_and_qualifiers_belong_to_a_part() {
    let (_, message) = refused(Flow::named("f").stage("a", Sends).on::<Ping>().leaf("a", Sink).after(["a"]));
    assert_eq!(message, "two parts of the flow are named `a`");
    let (_, message) = refused(Flow::named("f").on::<Ping>());
    assert_eq!(message, "`on` does not follow a stage");
    let (_, message) = refused(Flow::named("f").after(["a"]));
    assert_eq!(message, "`after` does not follow a stage or leaf");
}

/// What a stage emits is known by a number of 31 bits that follows from its name.
#[test]
#[cfg_attr(miri, ignore = "tens of thousands of names")]
fn names_that_stand_for_one_source_are_refused() {
    let mut names = HashMap::new();
    let same = (0..)
        .map(|n| format!("stage-{n}"))
        .find_map(|name| names.insert(source_of(&name), name.clone()).map(|other| [other, name]));
    let [one, other] = same.unwrap();
    let flow = || Flow::named("f").stage("a", Sends).on::<Ping>();
    for flow in [
        flow().stage(&one, Sends).on::<Ping>().stage(&other, Sends).on::<Ping>(),
        flow().stage(&one, Sends).on::<Ping>().retired(&other),
        flow().retired(&other).stage(&one, Sends).on::<Ping>(),
        flow().retired(&one).retired(&other),
    ] {
        let (error, message) = refused(flow);
        assert!(matches!(error, FlowError::SameSource { .. }), "{error}");
        assert!(
            message.contains(&format!("`{one}`")) && message.contains(&format!("`{other}`")),
            "{message}"
        );
    }
}

#[test]
fn a_flow_has_at_most_sixty_four_stages() {
    let of = |stages: usize| {
        (0..stages).fold(Flow::named("f"), |flow, n| flow.stage(&format!("s{n}"), Sends).on::<Ping>())
    };
    assert_eq!(of(STAGES_MAX).build().unwrap().stages().len(), 64);
    assert_eq!(refused(of(STAGES_MAX + 1)).1, "the flow has more than 64 stages");
}

#[test]
fn groups_that_would_wait_for_themselves_are_refused() {
    let flow = Flow::named("f")
        .stage("a", Sends)
        .on::<Ping>()
        .group("hot")
        .stage("b", Sends)
        .after(["a"])
        .stage("c", Sends)
        .after(["b"])
        .group("hot");
    let (error, _) = refused(flow);
    assert!(matches!(error, FlowError::GroupCycle { .. }), "{error}");
    let flow = Flow::named("f")
        .stage("a", Sends)
        .on::<Ping>()
        .group("hot")
        .stage("b", Sends)
        .after(["a"])
        .global()
        .group("hot");
    assert_eq!(refused(flow).1, "group `hot` holds keyed and global stages: they cannot be in one place");
}

#[test]
fn groups_come_in_an_order_in_which_none_waits_for_a_later_one() {
    let flow = Flow::named("f")
        .stage("a", Sends)
        .on::<Ping>()
        .stage("b", Sends)
        .after(["a"])
        .group("hot")
        .stage("c", Sends)
        .on::<Ping>()
        .stage("d", Sends)
        .after(["b", "c"])
        .group("hot")
        .build()
        .unwrap();
    let names: Vec<Vec<&str>> =
        flow.groups().iter().map(|group| group.iter().map(|id| &*flow.stage(*id).name).collect()).collect();
    assert_eq!(names, [vec!["a"], vec!["c"], vec!["b", "d"]]);
}
