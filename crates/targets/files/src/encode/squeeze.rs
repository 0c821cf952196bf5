//! The whole file through a compressor, for formats that have none of their own.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::settings::Compression;

/// A compressor, or none.
pub(super) enum Squeeze<W: Write> {
    Zstd(ZstdEncoder<'static, W>),
    Gzip(GzEncoder<W>),
    None(W),
}

impl<W: Write> Squeeze<W> {
    pub(super) fn new(compression: Compression, output: W) -> io::Result<Self> {
        match compression {
            Compression::Zstd => Ok(Self::Zstd(ZstdEncoder::new(output, super::ZSTD_LEVEL)?)),
            Compression::Gzip => Ok(Self::Gzip(GzEncoder::new(output, super::DEFLATE_LEVEL))),
            Compression::None => Ok(Self::None(output)),
            Compression::Snappy | Compression::Deflate => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "a compression that whole files do not have"))
            }
        }
    }

    /// What lies behind it.
    pub(super) fn output(&self) -> &W {
        match self {
            Self::Zstd(encoder) => encoder.get_ref(),
            Self::Gzip(encoder) => encoder.get_ref(),
            Self::None(output) => output,
        }
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
            Self::None(output) => Ok(output),
        }
    }
}

impl<W: Write> Write for Squeeze<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::None(output) => output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::None(output) => output.flush(),
        }
    }
}
