//! One block of an Avro file through the codec of the file.

use std::io;

use flate2::{Compress, Crc, FlushCompress, Status};
use zstd::bulk::Compressor;

use crate::encode::{DEFLATE_LEVEL, ZSTD_LEVEL};
use crate::settings::Compression;

/// A codec, and memory that is used again from block to block.
pub(super) struct BlockSqueeze {
    codec: Codec,
    squeezed: Vec<u8>,
}

enum Codec {
    Deflate(Compress),
    Snappy(Box<snap::raw::Encoder>),
    Zstd(Compressor<'static>),
    None,
}

impl BlockSqueeze {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        let codec = match compression {
            Compression::Deflate => Codec::Deflate(Compress::new(DEFLATE_LEVEL, false)),
            Compression::Snappy => Codec::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::Zstd => Codec::Zstd(Compressor::new(ZSTD_LEVEL)?),
            Compression::None => Codec::None,
            Compression::Gzip => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a codec that Avro does not have"));
            }
        };
        Ok(Self { codec, squeezed: Vec::new() })
    }

    /// The codec's name in the specification of Avro.
    pub(super) fn name(&self) -> &'static str {
        match self.codec {
            Codec::Deflate(_) => "deflate",
            Codec::Snappy(_) => "snappy",
            Codec::Zstd(_) => "zstandard",
            Codec::None => "null",
        }
    }

    /// A block as it stands in the file.
    pub(super) fn squeeze<'a>(&'a mut self, block: &'a [u8]) -> io::Result<&'a [u8]> {
        let squeezed = &mut self.squeezed;
        squeezed.clear();
        match &mut self.codec {
            Codec::None => return Ok(block),
            Codec::Deflate(compress) => deflate(compress, block, squeezed)?,
            Codec::Snappy(encoder) => {
                squeezed.resize(snap::raw::max_compress_len(block.len()), 0);
                let length = encoder.compress(block, squeezed)?;
                squeezed.truncate(length);
                let mut crc = Crc::new();
                crc.update(block);
                squeezed.extend_from_slice(&crc.sum().to_be_bytes());
            }
            Codec::Zstd(compressor) => {
                squeezed.reserve(zstd::zstd_safe::compress_bound(block.len()));
                compressor.compress_to_buffer(block, squeezed)?;
            }
        }
        Ok(squeezed)
    }
}

fn deflate(compress: &mut Compress, block: &[u8], squeezed: &mut Vec<u8>) -> io::Result<()> {
    /// What the end may take where nothing could be made smaller.
    const ROOM: usize = 64;
    compress.reset();
    squeezed.reserve(block.len() / 2 + ROOM);
    loop {
        let read = compress.total_in() as usize;
        let rest = block.get(read..).unwrap_or(&[]);
        match compress.compress_vec(rest, squeezed, FlushCompress::Finish)? {
            Status::StreamEnd => return Ok(()),
            Status::Ok | Status::BufError => squeezed.reserve(rest.len() / 2 + ROOM),
        }
    }
}
