//! XES: `<log>` holds `<trace>`s, a trace is a case and holds `<event>`s, and each is described by its child elements.
//!
//! ```text
//!  depth 1  <log>
//!        2    <trace>
//!        3      <string key="concept:name" value="173688"/>   the case, before or after its events
//!        3      <string key="AMOUNT_REQ" value="20000"/>
//!        3      <event>
//!        4        <string key="concept:name" value="A_SUBMITTED"/> …
//! ```
//!
//! A bad event is one bad input. A trace without a readable id or with an unreadable amount is one too, and its
//! events go with it: without their case they mean nothing, without the amount they would be counted wrong. How many
//! they are is told with it.

use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;

use super::collect::Collector;
use super::error::{BadInput, InputError, Reason};
use super::fields::{self, Cell, Event, Names};
use super::lines::raw;
use super::source::{Bytes, Origin};
use super::tags::{Tag, Tags, malformed};

const NAMES: Names = Names {
    case: "concept:name",
    activity: "concept:name",
    transition: "lifecycle:transition",
    time: "time:timestamp",
    resource: "org:resource",
    amount: "AMOUNT_REQ",
};

pub(super) fn read(bytes: Bytes<'_>, collector: &mut Collector) -> Result<(), InputError> {
    let mut tags = Tags::new(bytes);
    let mut trace = Trace::default();
    let mut event = Attributes::default();
    let mut element = Element::default();
    loop {
        let (line, tag) = tags.next()?;
        match tag {
            Tag::Open(depth, tag) => {
                let opened = element.open(depth, &tag);
                match opened {
                    Ok(()) => {}
                    Err(problem) => return Err(malformed(tags.origin(), line, &problem)),
                }
                match element.level {
                    Level::Trace => trace.begin(line),
                    Level::TraceAttribute => trace.attribute(&element),
                    Level::Event => event.begin(line),
                    Level::EventAttribute => event.set(&element),
                    Level::Orphan => {
                        let place = tags.origin().place(line);
                        collector.refuse(BadInput { place, reason: Reason::NoTrace, raw: String::new() })?;
                    }
                    Level::Log | Level::Other => {}
                }
            }
            Tag::Close(2) if element.in_trace => {
                element.in_trace = false;
                trace.end(tags.origin(), collector)?;
            }
            Tag::Close(3) if element.in_event => {
                element.in_event = false;
                match event.typed() {
                    Ok(typed) => trace.events.push(typed),
                    Err(reason) => {
                        collector.refuse(trace.bad(tags.origin(), event.line, reason, &event.raw()))?
                    }
                }
            }
            Tag::Close(_) => {}
            Tag::End => return Ok(()),
        }
    }
}

/// What an element is, from its name and where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Level {
    Log,
    Trace,
    TraceAttribute,
    Event,
    EventAttribute,
    /// An event directly in the log.
    Orphan,
    #[default]
    Other,
}

/// The element that was opened last.
#[derive(Default)]
struct Element {
    in_trace: bool,
    in_event: bool,
    level: Level,
    key: String,
    value: String,
}

impl Element {
    fn open(&mut self, depth: usize, tag: &BytesStart<'_>) -> Result<(), String> {
        let name = tag.local_name();
        self.level = match (depth, name.as_ref()) {
            (1, "log") => Level::Log,
            (1, other) => return Err(format!("the root element is <{other}>, not <log>")),
            (2, "trace") => Level::Trace,
            (2, "event") => Level::Orphan,
            (3, "event") if self.in_trace => Level::Event,
            (3, _) if self.in_trace => Level::TraceAttribute,
            (4, _) if self.in_event => Level::EventAttribute,
            _ => Level::Other,
        };
        match self.level {
            Level::Trace => self.in_trace = true,
            Level::Event => self.in_event = true,
            Level::TraceAttribute | Level::EventAttribute => return self.read_attributes(tag),
            Level::Log | Level::Orphan | Level::Other => {}
        }
        Ok(())
    }

    fn read_attributes(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        self.key.clear();
        self.value.clear();
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let target = match attribute.key.as_ref() {
                "key" => &mut self.key,
                "value" => &mut self.value,
                _ => continue,
            };
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            target.push_str(&value);
        }
        Ok(())
    }
}

/// The attributes of an event, as text, and where it begins.
#[derive(Default)]
struct Attributes {
    line: u64,
    values: [String; 4],
    seen: [bool; 4],
    twice: Option<&'static str>,
}

/// The keys of [`Attributes::values`].
const EVENT_KEYS: [&str; 4] = [NAMES.activity, NAMES.transition, NAMES.time, NAMES.resource];

impl Attributes {
    fn begin(&mut self, line: u64) {
        self.line = line;
        self.twice = None;
        self.seen = [false; 4];
        self.values.iter_mut().for_each(String::clear);
    }

    fn set(&mut self, element: &Element) {
        let Some(index) = EVENT_KEYS.iter().position(|key| *key == element.key) else { return };
        if std::mem::replace(&mut self.seen[index], true) {
            self.twice.get_or_insert(EVENT_KEYS[index]);
        }
        self.values[index].clone_from(&element.value);
    }

    fn typed(&self) -> Result<Event, Reason> {
        if let Some(field) = self.twice {
            return Err(Reason::Twice(field));
        }
        let [activity, transition, time, resource] =
            self.values.each_ref().map(|text| Cell::text(text.as_str()));
        fields::event(&activity, &transition, &time, &resource, &NAMES)
    }

    /// The event for a message: what was read of it.
    fn raw(&self) -> String {
        let present = EVENT_KEYS.iter().zip(&self.values).filter(|(_, value)| !value.is_empty());
        present.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }
}

/// A case, until its end.
#[derive(Default)]
struct Trace {
    line: u64,
    case: Option<String>,
    amount: Option<String>,
    twice: Option<&'static str>,
    events: Vec<Event>,
}

impl Trace {
    fn begin(&mut self, line: u64) {
        self.line = line;
        self.case = None;
        self.amount = None;
        self.twice = None;
        self.events.clear();
    }

    fn attribute(&mut self, element: &Element) {
        let (slot, name) = match element.key.as_str() {
            key if key == NAMES.case => (&mut self.case, NAMES.case),
            key if key == NAMES.amount => (&mut self.amount, NAMES.amount),
            _ => return,
        };
        if slot.replace(element.value.clone()).is_some() {
            self.twice.get_or_insert(name);
        }
    }

    fn end(&mut self, origin: &Origin, collector: &mut Collector) -> Result<(), InputError> {
        if let Some(field) = self.twice {
            return collector.refuse(self.bad(origin, self.line, Reason::Twice(field), &self.raw()));
        }
        let cell = |text: &Option<String>| text.clone().map_or(Cell::Absent, Cell::text);
        let case = fields::case(&cell(&self.case), NAMES.case);
        let typed = case.and_then(|case| Ok((case, fields::amount(&cell(&self.amount), NAMES.amount)?)));
        match typed {
            Err(reason) => collector.refuse(self.bad(origin, self.line, reason, &self.raw())),
            Ok((case, mut amount)) => {
                for event in self.events.drain(..) {
                    collector.accept(case, event, amount.take());
                }
                Ok(())
            }
        }
    }

    fn bad(&self, origin: &Origin, line: u64, reason: Reason, text: &str) -> BadInput {
        let mut place = origin.place(line);
        place.case = self.case.as_ref().map(|case| case.chars().take(64).collect());
        BadInput { place, reason, raw: raw(text.as_bytes()) }
    }

    /// The trace for a message: how many events go with it, and what was read of its own attributes.
    fn raw(&self) -> String {
        let texts = [(NAMES.case, &self.case), (NAMES.amount, &self.amount)];
        let present = texts.into_iter().filter_map(|(key, text)| Some(format!("{key}={}", text.as_ref()?)));
        let events = format!("{} events", self.events.len());
        [events].into_iter().chain(present).collect::<Vec<_>>().join(" ")
    }
}
