//! The hub from outside, by a plain HTTP client, in process.

mod house;
mod walk;
