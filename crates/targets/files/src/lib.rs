//! targets/files
