//! The flow of the worked example, and its input.

use std::path::{Path, PathBuf};

use downbeat::{Engine, Error, Flow, Ticket};
use downbeat_example_loan::flow::Recorded;
use downbeat_example_loan::{
    BadInput, Generator, Group, InputError, LoanInput, OnBadInput, Source, Volume, read, summary_of_states,
};
use serde_json::{Map, Value, json};

use crate::known::{Bad, Found, Known, Loaded, OnBad, Traffic, Workload};
use crate::page::number;

/// The same events on every machine.
const SEED: u64 = 2012;

/// The loan flow, which reads XES, JSONL and CSV.
pub fn loan() -> Known {
    Known::new("loan", "a bank's loan applications", || downbeat_example_loan::flow(None)).with(Loan)
}

struct Loan;

impl Workload for Loan {
    fn live_flow(&self, notifications: Option<PathBuf>) -> Flow {
        downbeat_example_loan::flow(notifications)
    }

    fn read(&self, input: &Path, on_bad: OnBad) -> Result<Loaded, Bad> {
        let on_bad = match on_bad {
            OnBad::Stop => OnBadInput::Stop,
            OnBad::Skip => OnBadInput::Skip,
            OnBad::Keep => OnBadInput::DeadLetter,
        };
        let loaded = read(&Source::from(input), on_bad).map_err(bad)?;
        Ok(Loaded {
            bad: loaded.bad,
            dead_letters: loaded.dead_letters.iter().map(dead_letter).collect(),
            traffic: Box::new(Inputs { inputs: loaded.inputs, next: 0 }),
        })
    }

    fn generate(&self, events: u64) -> Box<dyn Traffic> {
        Box::new(Generated { generator: Generator::new(SEED, Volume::Events(events)), events })
    }

    fn summary(&self, engine: &Engine) -> Option<Found> {
        let summary = summary_of_states(engine)?;
        let groups = [
            ("approved", summary.approved),
            ("declined", summary.declined),
            ("cancelled", summary.cancelled),
            ("open", summary.open),
        ];
        let of = |what: fn(&Group) -> u64| -> Map<String, Value> {
            groups.iter().map(|(name, group)| ((*name).to_owned(), what(group).into())).collect()
        };
        let mut json = Map::new();
        json.insert("applications".to_owned(), of(|group| group.applications).into());
        json.insert("amounts".to_owned(), of(|group| group.amount_eur).into());
        json.insert("multiple_offers".to_owned(), summary.with_several_offers.into());
        json.insert("fraud_checked".to_owned(), summary.fraud_checked.into());
        let mut rows = vec![("applications".to_owned(), number(summary.applications))];
        rows.extend(groups.iter().map(|(name, group)| {
            let (count, amount) = (number(group.applications), number(group.amount_eur));
            (String::new(), format!("{name:<10} {count:>9}   {amount:>15} EUR asked for"))
        }));
        rows.push(("several offers".to_owned(), number(summary.with_several_offers)));
        rows.push(("fraud-checked".to_owned(), number(summary.fraud_checked)));
        Some(Found { json, rows })
    }
}

/// Events that were read.
struct Inputs {
    inputs: Vec<LoanInput>,
    next: usize,
}

impl Traffic for Inputs {
    fn events(&self) -> u64 {
        self.inputs.len() as u64
    }

    fn submit_next(&mut self, engine: &Engine) -> Option<Result<Ticket, Error>> {
        let input = self.inputs.get(self.next)?;
        self.next += 1;
        Some(submit(engine, input))
    }

    fn name(&self, index: u64) -> String {
        let at = |index: usize| self.inputs.get(index);
        match usize::try_from(index).ok().and_then(at) {
            Some(input) => format!("event {} of case {}", u64::from(input.position) + 1, input.case),
            None => format!("event {index}"),
        }
    }
}

/// Events made up on the way.
struct Generated {
    generator: Generator,
    events: u64,
}

impl Traffic for Generated {
    fn events(&self) -> u64 {
        self.events
    }

    fn submit_next(&mut self, engine: &Engine) -> Option<Result<Ticket, Error>> {
        Some(submit(engine, &self.generator.next()?))
    }

    fn name(&self, index: u64) -> String {
        format!("generated event {}", index + 1)
    }
}

fn submit(engine: &Engine, input: &LoanInput) -> Result<Ticket, Error> {
    engine
        .submit(&Recorded::from(input))
        .key(input.key())
        .correlation(input.correlation())
        .idempotency_key(input.idempotency_key())
        .ticket()
}

fn bad(error: InputError) -> Bad {
    match error {
        InputError::NotFound { .. }
        | InputError::PermissionDenied { .. }
        | InputError::Directory { .. }
        | InputError::NotOpened { .. }
        | InputError::Read { .. } => Bad::Unreadable(error.to_string()),
        _ => Bad::Content(error.to_string()),
    }
}

fn dead_letter(bad: &BadInput) -> String {
    let (place, raw) = (&bad.place, &bad.raw);
    json!({ "file": place.file, "line": place.line, "case": place.case, "reason": bad.reason.to_string(), "raw": raw })
        .to_string()
}
