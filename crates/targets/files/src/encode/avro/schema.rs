//! The schema of an Avro file: the columns of the layout by Avro's own names, each a union with null, none with a default.

use arrow_schema::{DataType, Field, Fields};
use millrace_model::{Column, TableSchema};
use serde_json::{Value, json};

use crate::settings::Layout;
use crate::shape::{FIELD_ID, Shape, avro_name};

/// The schema of files of `table`, as JSON.
pub(super) fn text(table: &TableSchema, shape: &Shape) -> String {
    let mut parts: Vec<String> = table.table.parts().iter().map(|part| avro_name(part)).collect();
    let name = parts.pop().unwrap_or_default();
    let (on_top, in_images): (&[Column], &[Column]) = match shape.form.layout {
        Layout::Flat => (&table.columns, &[]),
        Layout::Envelope => (&[], &table.columns),
    };
    record(shape.schema.fields(), (&name, &parts.join(".")), on_top, in_images).to_string()
}

/// A record whose first fields are `user`'s, and so are those of the images in it `in_images`. Names of records inside it
/// lie in its own name, so that no table is called like one of them.
fn record(fields: &Fields, (name, space): (&str, &str), user: &[Column], in_images: &[Column]) -> Value {
    let inner = if space.is_empty() { name.to_owned() } else { format!("{space}.{name}") };
    let field_at = |(index, it): (usize, &arrow_schema::FieldRef)| field(it, &inner, user.get(index), in_images);
    let fields: Vec<Value> = fields.iter().enumerate().map(field_at).collect();
    let mut record = json!({"type": "record", "name": name, "fields": fields});
    if let (Value::Object(record), false) = (&mut record, space.is_empty()) {
        record.insert("namespace".into(), space.into());
    }
    record
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of all types only this has fields")]
fn field(field: &Field, space: &str, column: Option<&Column>, in_images: &[Column]) -> Value {
    let kind = match field.data_type() {
        DataType::Struct(fields) => {
            let is_image = matches!(field.name().as_str(), "before" | "after");
            record(fields, (field.name(), space), if is_image { in_images } else { &[] }, &[])
        }
        other => type_of(other),
    };
    let mut written = json!({"name": field.name(), "type": ["null", kind]});
    if let (Value::Object(written), Some(column)) = (&mut written, column) {
        written.insert("column-name".into(), column.name.as_str().into());
        written.insert("column-kind".into(), column.kind.to_string().into());
        if field.metadata().contains_key(FIELD_ID) {
            written.insert("column-id".into(), column.id.into());
        }
    }
    written
}

#[expect(clippy::wildcard_enum_match_arm, reason = "Arrow has more types than the layout")]
fn type_of(kind: &DataType) -> Value {
    match kind {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int".into(),
        DataType::Int64 => "long".into(),
        DataType::UInt64 => decimal(20, 0),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal128(precision, scale) => decimal(*precision, *scale),
        DataType::Binary => "bytes".into(),
        DataType::Date32 => json!({"type": "int", "logicalType": "date"}),
        DataType::Time64(_) => json!({"type": "long", "logicalType": "time-micros"}),
        DataType::Timestamp(_, Some(_)) => json!({"type": "long", "logicalType": "timestamp-micros"}),
        DataType::Timestamp(_, None) => json!({"type": "long", "logicalType": "local-timestamp-micros"}),
        DataType::List(element) => json!({"type": "array", "items": type_of(element.data_type())}),
        DataType::Map(_, _) => json!({"type": "map", "values": "string"}),
        _ => "string".into(),
    }
}

fn decimal(precision: u8, scale: i8) -> Value {
    json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
}
