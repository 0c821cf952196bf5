//! The hub from outside, by a plain HTTP client, in process.

mod browser;
mod console;
mod house;
mod walk;
