//! The two sides of a row in the envelope: what was before, as far as the log carried it, and what is after.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, StructArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{ArrowError, Field, Fields};
use arrow_select::interleave::interleave;
use millrace_model::{Batch, Image, Op};

use super::records::{decimal_texts, within};
use crate::shape::Shape;

/// What there is of the rows before the changes of a slice.
pub(super) struct Old {
    /// One a row.
    pub(super) images: Vec<Option<Image>>,
    /// For each row where its row before lies: in the slice itself, or where in the batch's `old`.
    places: Vec<Place>,
}

/// Where the row before a change lies.
#[derive(Clone, Copy)]
enum Place {
    Here,
    In(usize),
    Nowhere,
}

impl Old {
    /// Of some rows of a batch.
    pub(super) fn of(batch: &Batch, rows: &Range<usize>) -> Self {
        let mut images = vec![None; rows.len()];
        for &(row, image) in within(&batch.images, rows, |image| image.0) {
            images.get_mut(row as usize - rows.start).into_iter().for_each(|place| *place = Some(image));
        }
        let ops = batch.ops.get(rows.clone()).unwrap_or(&[]);
        let mut next = batch.old_rows().take_while(|row| (*row as usize) < rows.start).count();
        let place = |(op, image): (&Op, &mut Option<Image>)| match (op, &image) {
            (Op::Delete, _) => {
                // A source that keeps no old rows has the key at least, and all columns where they are the key.
                let least = if batch.schema.key.is_empty() { Image::Full } else { Image::Key };
                image.get_or_insert(least);
                Place::Here
            }
            (_, Some(_)) => {
                next += 1;
                Place::In(next - 1)
            }
            (_, None) => Place::Nowhere,
        };
        let places = ops.iter().zip(&mut images).map(place).collect();
        Self { images, places }
    }

    /// The user's columns of the rows before; where there is none, whatever lies there.
    pub(super) fn columns(&self, shape: &Shape, batch: &Batch, user: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
        if !self.places.iter().any(|place| matches!(place, Place::In(_))) {
            return Ok(user.to_vec());
        }
        let picks = self.places.iter().enumerate().map(|(row, place)| match place {
            Place::In(at) => (1, *at),
            Place::Here | Place::Nowhere => (0, row),
        });
        let picks: Vec<(usize, usize)> = picks.collect();
        let kinds = batch.schema.columns.iter().map(|column| column.kind);
        let both = user.iter().zip(&batch.old).zip(kinds);
        both.map(|((new, old), kind)| {
            let old = if shape.is_text_of(kind) { decimal_texts(old, &[])? } else { Arc::clone(old) };
            interleave(&[&**new, &*old], &picks)
        })
        .collect()
    }
}

/// As `before_image` has it.
pub(super) fn word_of(image: Option<Image>) -> &'static str {
    match image {
        Some(Image::Full) => "full",
        Some(Image::Key) => "key",
        None => "none",
    }
}

/// `before` and `after`: columns that are as long as the slice, each there where its side is.
pub(super) fn sides(
    shape: &Shape,
    ops: &[Op],
    old: &Old,
    old_columns: Vec<ArrayRef>,
    user: Vec<ArrayRef>,
) -> Result<[ArrayRef; 2], ArrowError> {
    let side = |is_there: BooleanBuffer, fields: Fields, columns| -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(StructArray::try_new(fields, columns, Some(NullBuffer::new(is_there)))?))
    };
    let without_ids: Fields =
        shape.columns.iter().map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect();
    let has_old: BooleanBuffer = old.images.iter().map(Option::is_some).collect();
    let has_new: BooleanBuffer = ops.iter().map(|op| !matches!(op, Op::Delete | Op::Truncate)).collect();
    Ok([side(has_old, without_ids, old_columns)?, side(has_new, shape.columns.clone(), user)?])
}
