//! What a page shows, in which order, on which scale.

use downbeat_benches::cells::measured::Unit;

/// Charts under one heading.
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What is measured, and what it means.
    pub(crate) about: &'static str,
    pub(crate) charts: &'static [Chart],
}

/// One picture, and the table below it.
pub(crate) struct Chart {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) form: Form,
    /// Where its figures lie on every machine that was looked at.
    pub(crate) span: (f64, f64),
    pub(crate) unit: Unit,
}

/// How it is drawn.
pub(crate) enum Form {
    /// Times over percentiles.
    Percentiles,
    /// Figures over steps: the name of the axis, its steps, and how they are written.
    Lines(&'static str, &'static [f64], Written),
    /// A figure a row.
    Rows,
}

/// How the steps of an axis are written.
#[derive(Clone, Copy)]
pub(crate) enum Written {
    Count,
    Bytes,
}

impl Written {
    pub(crate) fn step(self, value: f64) -> String {
        match self {
            Self::Bytes if value >= 1_048_576.0 => format!("{} MiB", value / 1_048_576.0),
            Self::Bytes if value >= 1_024.0 => format!("{} KiB", value / 1_024.0),
            Self::Bytes => format!("{value} B"),
            Self::Count => format!("{value}"),
        }
    }
}

const LATENCY: (f64, f64) = (1e4, 1e8);

const fn percentiles(id: &'static str, title: &'static str, span: (f64, f64)) -> Chart {
    Chart { id, title, form: Form::Percentiles, span, unit: Unit::Nanoseconds }
}

/// All of them.
pub(crate) const SECTIONS: [Section; 5] = [
    Section {
        id: "disk",
        title: "Disk floor",
        about: "A bare durable write of 4 KiB (RWF_DSYNC into a zero-filled file), one after the other, without a log. \
                No single event can be durable faster. Measured before everything else and after it: if the two \
                differ, the disk was busy with something else.",
        charts: &[percentiles("disk.floor", "One bare durable write", LATENCY)],
    },
    Section {
        id: "log",
        title: "Log",
        about: "The write-ahead log alone: one thread appends events of 64 bytes, checksums and the hash chain on, and \
                everything is durable at the end. Segments ready: all were filled with zeros before. As shipped: two \
                are, and others are filled at a paced rate meanwhile. Beside it stand its two limits: the same disk \
                without a log, which is direct writes of the same size, not synced, as many in flight; and the \
                processor's part without a disk, which is to fill, checksum and hash the batches.",
        charts: &[
            Chart {
                id: "log.batch",
                title: "Over the size of a batch, 16 writes in flight",
                form: Form::Lines(
                    "bytes of a batch",
                    &[16384.0, 32768.0, 65536.0, 131072.0, 262144.0, 524288.0, 1048576.0],
                    Written::Bytes,
                ),
                span: (1e7, 1e10),
                unit: Unit::BytesPerSecond,
            },
            Chart {
                id: "log.depth",
                title: "Over writes in flight, segments ready",
                form: Form::Lines("writes in flight", &[1.0, 2.0, 4.0, 8.0, 16.0], Written::Count),
                span: (1e7, 1e10),
                unit: Unit::BytesPerSecond,
            },
        ],
    },
    Section {
        id: "hop",
        title: "Hop",
        about: "A token from one actor to the next. On lanes and doorbells, as a flow uses them, and for comparison by \
                a ractor message for every token, from peer to peer and through a hub to which every stage reports. \
                At full load the time is for one token and one hop of a chain of five. Alone it is half of a round \
                trip, with half of a reading of the clock in it.",
        charts: &[
            Chart {
                id: "hop.loaded",
                title: "At full load, for one token and hop",
                form: Form::Rows,
                span: (1.0, 1e3),
                unit: Unit::Nanoseconds,
            },
            percentiles("hop.alone", "One token alone", (1e1, 1e7)),
        ],
    },
    Section {
        id: "end_to_end",
        title: "End to end",
        about: "Submitted, ordered, durable and applied by a flow of five stages with values between them, events of \
                64 bytes. An event counts when it is durable and every stage has applied it. Alone: one event under \
                way, in turn with one bare durable write. Open loop: events come at a rate, in bursts 50 µs apart or one \
                by one when slower, whatever the engine does, and each is timed from when it was due, so that an engine \
                that stops is charged for all that it kept waiting. The generator sleeps until shortly before a burst \
                and spins the rest; how late it was is part of these times, and the last plot shows that part.",
        charts: &[
            Chart {
                id: "end_to_end.throughput",
                title: "As much as goes, 4 producers",
                form: Form::Rows,
                span: (1e5, 1e8),
                unit: Unit::EventsPerSecond,
            },
            percentiles("end_to_end.alone", "One event alone, from submit to its durable receipt", LATENCY),
            percentiles(
                "end_to_end.rate",
                "Open loop, from when an event was due to its durable receipt",
                LATENCY,
            ),
            percentiles("end_to_end.late", "Of that: how late the generator submitted it", LATENCY),
        ],
    },
    Section {
        id: "scaling",
        title: "Scaling",
        about: "A chain of stages, end to end as above, one thing varied at a time; the others stay at 4 producers, 5 \
                stages and 64 bytes. A flat line means that an event costs the same however many there are. All stages run on \
                one thread here: twice the stages at half the rate means that each stage costs the same.",
        charts: &[
            Chart {
                id: "scaling.producers",
                title: "Over the number of producers",
                form: Form::Lines("producers", &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0], Written::Count),
                span: (1e5, 1e8),
                unit: Unit::EventsPerSecond,
            },
            Chart {
                id: "scaling.stages",
                title: "Over the number of stages",
                form: Form::Lines("stages", &[1.0, 2.0, 4.0, 8.0, 16.0], Written::Count),
                span: (1e5, 1e8),
                unit: Unit::EventsPerSecond,
            },
            Chart {
                id: "scaling.payload",
                title: "Over the size of the payload",
                form: Form::Lines(
                    "bytes of a payload",
                    &[16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0],
                    Written::Bytes,
                ),
                span: (1e3, 1e8),
                unit: Unit::EventsPerSecond,
            },
        ],
    },
];
