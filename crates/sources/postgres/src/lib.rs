//! sources/postgres
