//! What is different between two shapes, in the words of someone who changed a Rust type.
//!
//! Fields and variants are matched by name, never by position. The names of structs and enums do not count:
//! renaming a Rust type changes no byte and no meaning.

use std::fmt;

use serde::Serialize;

use crate::shape::{EnumShape, Field, Members, Shape, StructShape, Variant};

/// What a change means for those who read old events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The same bytes mean the same.
    Identical,
    /// Everything that was there is there; an upcast fills in what is new.
    Additive,
    /// Something is gone, has moved or is another type; an upcast has to decide what becomes of it.
    Breaking,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identical => "identical",
            Self::Additive => "additive",
            Self::Breaking => "breaking",
        })
    }
}

/// All differences between two shapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diff {
    /// In order of declaration; empty when there are none.
    pub changes: Vec<Change>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which field or variant: names joined by dots, `[]` for the elements of a vector or array.
    pub path: String,
    /// What about it.
    pub what: Changed,
}

/// What can be different about a field or variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Changed {
    /// A field that was not there.
    FieldAdded,
    /// A field that is not there any more.
    FieldRemoved,
    /// A field at another place.
    FieldMoved {
        /// Its offset before, in bytes.
        from: u32,
        /// Its offset now, in bytes.
        to: u32,
    },
    /// A variant that was not there.
    VariantAdded,
    /// A variant that is not there any more.
    VariantRemoved,
    /// A variant with another tag.
    VariantMoved {
        /// Its tag before.
        from: u8,
        /// Its tag now.
        to: u8,
    },
    /// Another type.
    Type {
        /// The type before, as Rust writes it.
        from: String,
        /// The type now.
        to: String,
    },
    /// Other padding: size or alignment differ though the fields do not.
    Layout,
}

impl Diff {
    /// What the differences together mean.
    pub fn verdict(&self) -> Verdict {
        if self.changes.is_empty() {
            Verdict::Identical
        } else if self.changes.iter().all(|change| change.what.is_additive()) {
            Verdict::Additive
        } else {
            Verdict::Breaking
        }
    }
}

impl Changed {
    fn is_additive(&self) -> bool {
        matches!(self, Self::FieldAdded | Self::VariantAdded)
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, change) in self.changes.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{change}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what } = self;
        let subject = match what {
            Changed::VariantAdded | Changed::VariantRemoved | Changed::VariantMoved { .. } => "variant",
            _ => "field",
        };
        match path.as_str() {
            "" => f.write_str("the type itself ")?,
            path => write!(f, "{subject} `{path}` ")?,
        }
        match what {
            Changed::FieldAdded | Changed::VariantAdded => f.write_str("was added"),
            Changed::FieldRemoved | Changed::VariantRemoved => f.write_str("was removed"),
            Changed::FieldMoved { from, to } => write!(f, "was moved from byte {from} to byte {to}"),
            Changed::VariantMoved { from, to } => write!(f, "was moved from tag {from} to tag {to}"),
            Changed::Type { from, to } => write!(f, "was `{from}` and is `{to}`"),
            Changed::Layout => f.write_str("has another size or alignment"),
        }
    }
}

/// What is different in `new`, seen from `old`. Both are [checked](Shape::check) shapes.
pub fn diff(old: &Shape, new: &Shape) -> Diff {
    let mut diff = Diff { changes: Vec::new() };
    if old != new {
        diff.shapes("", old, new);
    }
    diff
}

impl Diff {
    fn push(&mut self, path: &str, what: Changed) {
        self.changes.push(Change { path: path.to_owned(), what });
    }

    fn shapes(&mut self, path: &str, old: &Shape, new: &Shape) {
        match (old, new) {
            (Shape::Vec(old), Shape::Vec(new)) => self.shapes(&format!("{path}[]"), old, new),
            (Shape::Array { of: old, len: a }, Shape::Array { of: new, len: b }) if a == b => {
                self.shapes(&format!("{path}[]"), old, new);
            }
            (Shape::Option(old), Shape::Option(new)) | (Shape::Box(old), Shape::Box(new)) => {
                self.shapes(path, old, new);
            }
            (Shape::Struct(old), Shape::Struct(new)) => self.structs(path, old, new),
            (Shape::Enum(old), Shape::Enum(new)) => self.enums(path, old, new),
            (old, new) if old == new => {}
            (old, new) => {
                self.push(path, Changed::Type { from: old.to_string(), to: new.to_string() });
            }
        }
    }

    fn structs(&mut self, path: &str, old: &StructShape, new: &StructShape) {
        let before = self.changes.len();
        self.members(path, &old.name, &new.name, &old.members, &new.members);
        if self.changes.len() == before && (old.size, old.align) != (new.size, new.align) {
            self.push(path, Changed::Layout);
        }
    }

    fn enums(&mut self, path: &str, old: &EnumShape, new: &EnumShape) {
        let before = self.changes.len();
        for variant in &old.variants {
            let path = join(path, &variant.name);
            match new.variants.iter().find(|other| other.name == variant.name) {
                Some(other) => self.variants(&path, variant, other),
                None => self.push(&path, Changed::VariantRemoved),
            }
        }
        for variant in &new.variants {
            if !old.variants.iter().any(|other| other.name == variant.name) {
                self.push(&join(path, &variant.name), Changed::VariantAdded);
            }
        }
        if self.changes.len() == before && (old.size, old.align) != (new.size, new.align) {
            self.push(path, Changed::Layout);
        }
    }

    fn variants(&mut self, path: &str, old: &Variant, new: &Variant) {
        if old.tag != new.tag {
            self.push(path, Changed::VariantMoved { from: old.tag, to: new.tag });
        }
        self.members(path, &old.name, &new.name, &old.members, &new.members);
    }

    fn members(&mut self, path: &str, from: &str, to: &str, old: &Members, new: &Members) {
        let same_style = matches!(
            (old, new),
            (Members::Unit, Members::Unit)
                | (Members::Positional(_), Members::Positional(_))
                | (Members::Named(_), Members::Named(_))
        );
        if !same_style {
            let (from, to) = (written(from, old), written(to, new));
            return self.push(path, Changed::Type { from, to });
        }
        let before = self.changes.len();
        let (old, new) = (old.fields(), new.fields());
        for field in old {
            let path = join(path, &field.name);
            match find(new, &field.name) {
                Some(other) => self.shapes(&path, &field.shape, &other.shape),
                None => self.push(&path, Changed::FieldRemoved),
            }
        }
        for field in new {
            if find(old, &field.name).is_none() {
                self.push(&join(path, &field.name), Changed::FieldAdded);
            }
        }
        self.moves(path, old, new, self.changes.len() == before);
    }

    /// A field moves when it changes places with another. That those behind a new, lost or resized field have
    /// other offsets follows from it and is not said again.
    fn moves(&mut self, path: &str, old: &[Field], new: &[Field], nothing_else: bool) {
        let mut highest = 0;
        for field in old {
            let Some(other) = find(new, &field.name) else { continue };
            let swapped = other.offset < highest;
            highest = highest.max(other.offset);
            if swapped || (nothing_else && field.offset != other.offset) {
                let what = Changed::FieldMoved { from: field.offset, to: other.offset };
                self.push(&join(path, &field.name), what);
            }
        }
    }
}

fn find<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    fields.iter().find(|field| field.name == name)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// How the definition looks in Rust.
fn written(name: &str, members: &Members) -> String {
    match members {
        Members::Unit => name.to_owned(),
        Members::Positional(_) => format!("{name}(…)"),
        Members::Named(_) => format!("{name} {{ … }}"),
    }
}
