//! What the log carried of rows before their changes, beside the changes, where somebody asks for it.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::ArrowError;

use super::TableChanges;
use crate::batch::Image;
use crate::schema::Op;

impl TableChanges {
    /// Says what of the row that the current change deletes was there.
    pub fn note_image(&mut self, image: Image) {
        self.images.push((self.current_row(), image));
    }

    /// Starts the row before the current change, which is no delete; it is whole when each column has been appended to once.
    pub fn begin_old(&mut self, image: Image) -> &mut Self {
        self.note_image(image);
        self.account.old();
        let old = self.old.get_or_insert_with(|| Box::new(Self::new(Arc::clone(&self.schema))));
        old.ops.push(Op::Update);
        old
    }

    /// The old rows of the changes that are there, a column each.
    pub(super) fn take_old(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let Some(mut old) = self.old.take() else { return Ok(Vec::new()) };
        let is_delete = |row: u32| self.ops.get(row as usize) == Some(&Op::Delete);
        // Old rows that were cut off with their changes are still in the builders.
        let rows = self.images.iter().filter(|image| !is_delete(image.0)).count();
        old.columns.iter_mut().map(|column| Ok(column.finish()?.slice(0, rows))).collect()
    }
}
