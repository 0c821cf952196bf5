//! The read buffer: whole frames of the server's protocol, borrowed in place.

#![expect(
    clippy::indexing_slicing,
    reason = "`start` and `end` lie in `bytes`, `start` first: only this file moves them"
)]

use std::io;
use std::ops::Range;

/// Bytes of a frame's tag and length.
const HEADER: usize = 5;
/// A buffer that grew beyond this for one large message is given back once it is empty.
const KEEP: usize = 1 << 20;

/// What was read and not yet used.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    capacity: usize,
}

/// A whole frame at the start of the input.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// What kind of message it is.
    pub(crate) tag: u8,
    body: Range<usize>,
}

impl Input {
    /// An empty buffer of `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity], start: 0, end: 0, capacity }
    }

    /// From here on reads up to `capacity` bytes at once.
    pub(crate) fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// The first frame, once all of it is there.
    pub(crate) fn frame(&self) -> io::Result<Option<Frame>> {
        Ok(self
            .first_length()?
            .filter(|&length| self.end - self.start >= length)
            .map(|length| Frame { tag: self.bytes[self.start], body: self.start + HEADER..self.start + length }))
    }

    /// What a frame holds.
    pub(crate) fn body(&self, frame: &Frame) -> &[u8] {
        &self.bytes[frame.body.clone()]
    }

    /// The first frame is done with.
    pub(crate) fn consume(&mut self, frame: &Frame) {
        self.start = frame.body.end;
    }

    /// Reads what is there with one call of `read`, making room for the first frame. Returns the number of bytes; none is
    /// the end.
    pub(crate) fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        self.make_room()?;
        let count = read(&mut self.bytes[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Length of the first frame with its header, once its header is there.
    fn first_length(&self) -> io::Result<Option<usize>> {
        let Some(&[_, a, b, c, d]) = self.bytes[self.start..self.end].first_chunk::<HEADER>() else { return Ok(None) };
        match u32::from_be_bytes([a, b, c, d]) {
            length @ 4..=0x7FFF_FFFF => Ok(Some(length as usize + 1)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of an impossible length")),
        }
    }

    fn make_room(&mut self) -> io::Result<()> {
        let live = self.end - self.start;
        let wanted = self.first_length()?.unwrap_or(HEADER).max(self.capacity).max(live + HEADER);
        let length = self.bytes.len();
        if length < wanted || length > KEEP.max(wanted) {
            let mut bytes = vec![0; wanted];
            bytes[..live].copy_from_slice(&self.bytes[self.start..self.end]);
            self.bytes = bytes;
        } else if length - self.start < wanted {
            self.bytes.copy_within(self.start..self.end, 0);
        } else {
            return Ok(());
        }
        (self.start, self.end) = (0, live);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_come_in() {
        let sizes = [0usize, 1, 7, 100, 3000, 2, 0, 5];
        let mut wire = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            wire.push(b'a' + number as u8);
            wire.extend((*size as u32 + 4).to_be_bytes());
            wire.extend(vec![number as u8; *size]);
        }
        for step in [1usize, 2, 3, 64, 10_000] {
            let mut input = Input::new(16);
            let (mut rest, mut seen) = (wire.as_slice(), Vec::new());
            while seen.len() < sizes.len() {
                while let Some(frame) = input.frame().unwrap() {
                    let body = input.body(&frame);
                    assert!(body.iter().all(|&byte| byte == frame.tag - b'a'));
                    seen.push(body.len());
                    input.consume(&frame);
                }
                let read = |into: &mut [u8]| {
                    assert!(!into.is_empty(), "no room to read into");
                    let count = step.min(into.len()).min(rest.len());
                    into[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    Ok(count)
                };
                input.fill(read).unwrap();
            }
            assert_eq!(seen, sizes, "{step}");
        }
    }

    #[test]
    fn a_frame_of_an_impossible_length_is_refused() {
        let mut input = Input::new(16);
        let read = |into: &mut [u8]| {
            into[..5].copy_from_slice(b"d\0\0\0\x03");
            Ok(5)
        };
        input.fill(read).unwrap();
        assert!(input.frame().is_err());
    }
}
