//! The least that any reader of a format does with the same bytes: what a decoder costs is told beside
//! it. Nothing here knows a receipt.

use std::io::{Cursor, Read as _};

use quick_xml::events::Event;
use serde::de::IgnoredAny;

/// A way to read bytes without understanding them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Each event of XML.
    Xml,
    /// Each value of JSON.
    Json,
    /// Each row of a table.
    Csv,
    /// Each file of a zip.
    Inflate,
    /// Each segment of EDIFACT.
    Segments,
    /// Each sign of UTF-8.
    Text,
}

impl Plain {
    /// Returns what it is called in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Xml => "quick-xml, events only",
            Self::Json => "serde_json, values ignored",
            Self::Csv => "csv, rows only",
            Self::Inflate => "zip, inflate only",
            Self::Segments => "edifact-rs, segments only",
            Self::Text => "UTF-8 scan only",
        }
    }

    /// Reads the bytes and returns how much was found.
    pub(crate) fn read(self, bytes: &[u8]) -> usize {
        match self {
            Self::Xml => events(bytes),
            Self::Json => values(bytes),
            Self::Csv => rows(bytes),
            Self::Inflate => unpacked(bytes),
            Self::Segments => segments(bytes),
            Self::Text => bytes.utf8_chunks().map(|chunk| chunk.valid().len()).sum(),
        }
    }
}

fn events(bytes: &[u8]) -> usize {
    let mut reader = quick_xml::Reader::from_reader(bytes);
    let mut count = 0;
    while reader.read_event().unwrap() != Event::Eof {
        count += 1;
    }
    count
}

fn values(bytes: &[u8]) -> usize {
    let stream = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    stream.inspect(|value| assert!(value.is_ok(), "it is JSON")).count()
}

fn rows(bytes: &[u8]) -> usize {
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(bytes);
    let mut row = csv::ByteRecord::new();
    let mut count = 0;
    while reader.read_byte_record(&mut row).unwrap() {
        count += 1;
    }
    count
}

fn unpacked(bytes: &[u8]) -> usize {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut content = Vec::new();
    for index in 0..archive.len() {
        archive.by_index(index).unwrap().read_to_end(&mut content).unwrap();
    }
    content.len()
}

fn segments(bytes: &[u8]) -> usize {
    let segments = edifact_rs::from_bytes(bytes);
    segments.inspect(|segment| assert!(segment.is_ok(), "it is EDIFACT")).count()
}
