//! Parquet files to batches in the flat layout.

use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, StructArray, TimestampMicrosecondArray};
use arrow_schema::{ArrowError, Field, Schema};
use arrow_select::zip::zip;
use bytes::Bytes;
use millrace_model::Fault;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Batches, READ_ROWS, Wanted};
use crate::fault::damaged;
use crate::settings::Layout;
use crate::shape::{OWN_COLUMNS, flat_names};

/// The columns of the envelope that `Wanted::Own` needs.
const OWN_OF_ENVELOPE: [&str; 3] = ["op", "sequence", "source"];

/// The rows of a file.
pub(super) fn batches(layout: Layout, path: &str, bytes: Bytes, wanted: Wanted) -> Result<Batches, Fault> {
    let path = path.to_owned();
    let spoiled = |e: parquet::errors::ParquetError| damaged(&path, e.to_string());
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(spoiled)?.with_batch_size(READ_ROWS);
    if wanted == Wanted::Own {
        let ours: &[&str] = match layout {
            Layout::Flat => &OWN_COLUMNS,
            Layout::Envelope => &OWN_OF_ENVELOPE,
        };
        let roots = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
        let wanted: Vec<usize> =
            roots.filter(|(_, field)| ours.contains(&field.name())).map(|(index, _)| index).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        builder = builder.with_projection(mask);
    }
    let reader = builder.build().map_err(spoiled)?;
    Ok(Box::new(reader.map(move |batch| {
        let batch = match layout {
            Layout::Flat => batch,
            Layout::Envelope => batch.and_then(|batch| flattened(&batch, wanted)),
        };
        batch.map_err(|e| damaged(&path, e.to_string()))
    })))
}

/// A batch of the envelope in the flat layout.
fn flattened(batch: &RecordBatch, wanted: Wanted) -> Result<RecordBatch, ArrowError> {
    let lacks = |name: &str| ArrowError::SchemaError(format!("it lacks `{name}`"));
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| lacks(name));
    let source = column("source")?.as_struct_opt().ok_or_else(|| lacks("source"))?;
    let of_source = |name: &str| source.column_by_name(name).ok_or_else(|| lacks(name));
    let mut fields: Vec<Field> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    if wanted == Wanted::All && batch.column_by_name("after").is_some() {
        let (before, after) = (column("before")?.as_struct_opt(), column("after")?.as_struct_opt());
        let (before, after) = (before.ok_or_else(|| lacks("before"))?, after.ok_or_else(|| lacks("after"))?);
        let op = column("op")?.as_string_opt::<i32>().ok_or_else(|| lacks("op"))?;
        let mut is_delete = BooleanBuilder::with_capacity(op.len());
        op.iter().for_each(|op| is_delete.append_value(op == Some("d")));
        user_columns(&is_delete.finish(), before, after, &mut fields, &mut columns)?;
    }
    let commit = of_source("ts_us")?.as_primitive_opt::<Int64Type>().ok_or_else(|| lacks("ts_us"))?;
    let commit = TimestampMicrosecondArray::new(commit.values().clone(), commit.nulls().cloned()).with_timezone("UTC");
    let mut own: Vec<ArrayRef> = [column("op")?, column("sequence")?].map(Arc::clone).to_vec();
    own.extend([of_source("position")?, of_source("tx_id")?, of_source("tx_index")?].map(Arc::clone));
    own.push(Arc::new(commit));
    let lists = if wanted == Wanted::All { Some([column("unavailable")?, column("exact")?]) } else { None };
    own.extend(lists.into_iter().flatten().map(Arc::clone));
    own.push(Arc::clone(of_source("snapshot")?));
    let names = OWN_COLUMNS.iter().filter(|name| wanted == Wanted::All || !matches!(**name, "_unavailable" | "_exact"));
    fields.extend(names.zip(&own).map(|(name, array)| Field::new(*name, array.data_type().clone(), true)));
    columns.extend(own);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The side that a row has: of a delete `before`, of all others `after`.
fn user_columns(
    is_delete: &BooleanArray,
    before: &StructArray,
    after: &StructArray,
    fields: &mut Vec<Field>,
    columns: &mut Vec<ArrayRef>,
) -> Result<(), ArrowError> {
    let names = flat_names(after.fields().iter().map(|field| field.name().as_str()));
    for ((name, before), after) in names.into_iter().zip(before.columns()).zip(after.columns()) {
        let column = zip(is_delete, before, after)?;
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    Ok(())
}
