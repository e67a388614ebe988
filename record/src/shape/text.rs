//! A shape as JSON, for people and for any tool.
//!
//! ```text
//! "unit"  "string"  "bool"  "u8" … "i128"  "f32"  "f64"  "char"
//! {"type": "vec", "of": S}   {"type": "option", "of": S}   {"type": "box", "of": S}
//! {"type": "array", "len": 4, "of": S}
//! {"type": "struct", "name": "…", "size": 16, "align": 8, "fields": [F, …]}
//! {"type": "enum",   "name": "…", "size": 16, "align": 8, "variants": [{"name": "…", "tag": 0, "fields": [F, …]}, …]}
//! F = {"name": "…", "offset": 8, "shape": S}
//! ```
//!
//! Fields without names stand under `items` instead of `fields`; a unit struct or variant has neither. A key
//! that is not in this list is refused, since it would mean something that this build does not know.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::check::{ShapeError, ShapeFault, deeper};
use super::{EnumShape, Field, Members, NESTING_MAX, Scalar, Shape, StructShape, Variant};

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(self).serialize(serializer)
    }
}

/// Reads what [`Shape`] serializes to and nothing else; the result is [checked](Shape::check).
impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Shape {
    /// Reads a shape from JSON that may come from anyone.
    ///
    /// # Errors
    ///
    /// What is wrong, and where: the JSON says something else, or the shape breaks a rule of
    /// [`Shape::check`].
    pub fn from_value(value: &Value) -> Result<Self, ShapeError> {
        let shape = read(value, NESTING_MAX)?;
        shape.check()?;
        Ok(shape)
    }
}

fn write(shape: &Shape) -> Value {
    match shape {
        Shape::Unit => json!("unit"),
        Shape::Scalar(scalar) => json!(scalar.name()),
        Shape::String => json!("string"),
        Shape::Vec(of) => json!({"type": "vec", "of": write(of)}),
        Shape::Option(of) => json!({"type": "option", "of": write(of)}),
        Shape::Array { of, len } => json!({"type": "array", "len": len, "of": write(of)}),
        Shape::Box(of) => json!({"type": "box", "of": write(of)}),
        Shape::Struct(StructShape { name, size, align, members }) => {
            with_members(json!({"type": "struct", "name": name, "size": size, "align": align}), members)
        }
        Shape::Enum(EnumShape { name, size, align, variants }) => {
            let variants: Vec<Value> = variants
                .iter()
                .map(|variant| {
                    with_members(json!({"name": variant.name, "tag": variant.tag}), &variant.members)
                })
                .collect();
            json!({"type": "enum", "name": name, "size": size, "align": align, "variants": variants})
        }
    }
}

fn with_members(mut object: Value, members: &Members) -> Value {
    let list = |fields: &[Field]| {
        let fields = fields
            .iter()
            .map(|field| json!({"name": field.name, "offset": field.offset, "shape": write(&field.shape)}));
        Value::Array(fields.collect())
    };
    match members {
        Members::Unit => {}
        Members::Positional(fields) => object["items"] = list(fields),
        Members::Named(fields) => object["fields"] = list(fields),
    }
    object
}

fn read(value: &Value, levels: usize) -> Result<Shape, ShapeError> {
    let object = match value {
        Value::String(name) => return read_plain(name),
        Value::Object(object) => object,
        _ => return Err(fault("neither a name nor an object")),
    };
    let of = || {
        let of = object.get("of").ok_or_else(|| fault("`of` is missing"))?;
        read(of, deeper(levels, 1)?).map(Box::new)
    };
    let extent = || Ok((text(object, "name")?, number(object, "size")?, number(object, "align")?));
    match object.get("type").and_then(Value::as_str) {
        Some("vec") => {
            only(object, &["type", "of"])?;
            Ok(Shape::Vec(of()?))
        }
        Some("option") => {
            only(object, &["type", "of"])?;
            Ok(Shape::Option(of()?))
        }
        Some("box") => {
            only(object, &["type", "of"])?;
            Ok(Shape::Box(of()?))
        }
        Some("array") => {
            only(object, &["type", "len", "of"])?;
            Ok(Shape::Array { of: of()?, len: number(object, "len")? })
        }
        Some("struct") => {
            only(object, &["type", "name", "size", "align", "fields", "items"])?;
            let (name, size, align) = extent()?;
            let members = read_members(object, deeper(levels, 3)?)?;
            Ok(Shape::Struct(StructShape { name, size, align, members }))
        }
        Some("enum") => {
            only(object, &["type", "name", "size", "align", "variants"])?;
            let (name, size, align) = extent()?;
            let levels = deeper(levels, 5)?;
            let variants = list(object, "variants")?.iter().map(|variant| read_variant(variant, levels));
            let variants = variants.collect::<Result<_, _>>()?;
            Ok(Shape::Enum(EnumShape { name, size, align, variants }))
        }
        _ => Err(fault("its `type` is not known to this build")),
    }
}

fn read_plain(name: &str) -> Result<Shape, ShapeError> {
    match name {
        "unit" => Ok(Shape::Unit),
        "string" => Ok(Shape::String),
        _ => Scalar::ALL
            .into_iter()
            .find(|scalar| scalar.name() == name)
            .map(Shape::Scalar)
            .ok_or_else(|| fault("its name is not known to this build")),
    }
}

fn read_variant(value: &Value, levels: usize) -> Result<Variant, ShapeError> {
    let object = value.as_object().ok_or_else(|| fault("a variant is not an object"))?;
    only(object, &["name", "tag", "fields", "items"])?;
    let name = text(object, "name")?;
    let tag = u8::try_from(number(object, "tag")?).map_err(|_| fault("a tag is above 255"))?;
    let members = read_members(object, levels).map_err(|error| error.under(&name))?;
    Ok(Variant { name, tag, members })
}

fn read_members(object: &Map<String, Value>, levels: usize) -> Result<Members, ShapeError> {
    let fields = |key| {
        let fields = list(object, key)?.iter().map(|field| read_field(field, levels));
        fields.collect::<Result<Vec<_>, _>>()
    };
    match (object.contains_key("fields"), object.contains_key("items")) {
        (false, false) => Ok(Members::Unit),
        (true, false) => Ok(Members::Named(fields("fields")?)),
        (false, true) => Ok(Members::Positional(fields("items")?)),
        (true, true) => Err(fault("both `fields` and `items` are there")),
    }
}

fn read_field(value: &Value, levels: usize) -> Result<Field, ShapeError> {
    let object = value.as_object().ok_or_else(|| fault("a field is not an object"))?;
    only(object, &["name", "offset", "shape"])?;
    let (name, offset) = (text(object, "name")?, number(object, "offset")?);
    let shape = object.get("shape").ok_or_else(|| fault("`shape` is missing").under(&name))?;
    let shape = read(shape, levels).map_err(|error| error.under(&name))?;
    Ok(Field { name, offset, shape })
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Result<(), ShapeError> {
    if object.keys().all(|key| known.contains(&key.as_str())) {
        Ok(())
    } else {
        Err(fault("a key is not known to this build"))
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Result<String, ShapeError> {
    let text = object.get(key).and_then(Value::as_str);
    Ok(text.ok_or_else(|| fault("a name is missing or not text"))?.to_owned())
}

fn number(object: &Map<String, Value>, key: &str) -> Result<u32, ShapeError> {
    let number = object.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| fault("a number is missing or not one of 32 bits"))
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a [Value], ShapeError> {
    let list = object.get(key).and_then(Value::as_array);
    Ok(list.ok_or_else(|| fault("a list is missing or not a list"))?.as_slice())
}

fn fault(what: &'static str) -> ShapeError {
    ShapeError::here(ShapeFault::Json(what))
}
