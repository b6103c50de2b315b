//! A pull reader over one unit: children by local name, their text and attributes, all bounded. The
//! only file that names quick-xml.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

/// Elements that may stand inside of one another; real files use 8.
const DEPTH_MAX: usize = 64;

/// Bytes of a text that is read; identifiers, amounts and words stay far below.
const TEXT_BYTES_MAX: usize = 4096;

/// Why a unit cannot be read as XML.
#[derive(Debug, thiserror::Error)]
pub(super) enum XmlError {
    #[error("it is not well formed XML")]
    Malformed(#[source] quick_xml::Error),
    #[error("an attribute is not well formed XML")]
    Attribute(#[source] quick_xml::Error),
    #[error("it ends inside of an element")]
    Unfinished,
    #[error("elements stand more than {DEPTH_MAX} deep")]
    TooDeep,
    #[error("a text is longer than {TEXT_BYTES_MAX} bytes")]
    TextTooLong,
    #[error("it names an entity of its own")]
    Entity,
}

/// An element that begins.
pub(super) struct Element<'a> {
    tag: BytesStart<'a>,
}

impl Element<'_> {
    /// Returns its name without prefix.
    pub(super) fn name(&self) -> &str {
        self.tag.local_name().into_inner()
    }

    /// Returns the value of an attribute, found by its name without prefix.
    pub(super) fn attribute(&self, local_name: &str) -> Result<Option<String>, XmlError> {
        for attribute in self.tag.attributes() {
            let attribute = attribute.map_err(|error| XmlError::Attribute(error.into()))?;
            if attribute.key.local_name().into_inner() == local_name {
                let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
                let value = value.map_err(XmlError::Attribute)?;
                return bounded(value.into_owned()).map(Some);
            }
        }
        Ok(None)
    }
}

fn bounded(text: String) -> Result<String, XmlError> {
    if text.len() > TEXT_BYTES_MAX { Err(XmlError::TextTooLong) } else { Ok(text) }
}

/// The place in a unit.
pub(super) struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
}

impl<'a> Xml<'a> {
    /// Begins before the unit's first tag.
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, depth: 0 }
    }

    /// Steps into the next child of the element that is open, or out of that where none is left.
    pub(super) fn child(&mut self) -> Result<Option<Element<'a>>, XmlError> {
        loop {
            match self.event()? {
                Event::Start(tag) | Event::Empty(tag) => return Ok(Some(Element { tag })),
                Event::End(_) => return Ok(None),
                Event::Eof => return Err(XmlError::Unfinished),
                Event::Text(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_) => {}
            }
        }
    }

    /// Reads the text of the element that is open, blanks around it aside, and steps out of it.
    pub(super) fn text(&mut self) -> Result<String, XmlError> {
        let mut text = String::new();
        loop {
            match self.event()? {
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::CData(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => text.push_str(&resolve(&reference)?),
                Event::Start(_) | Event::Empty(_) => self.skip()?,
                Event::End(_) => return Ok(text.trim().to_owned()),
                Event::Eof => return Err(XmlError::Unfinished),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
            if text.len() > TEXT_BYTES_MAX {
                return Err(XmlError::TextTooLong);
            }
        }
    }

    /// Reads like [`Xml::text`], the texts of elements inside of the open one included.
    pub(super) fn whole_text(&mut self) -> Result<String, XmlError> {
        let outside = self.depth.saturating_sub(1);
        let mut text = String::new();
        while self.depth > outside {
            match self.event()? {
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::CData(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => text.push_str(&resolve(&reference)?),
                Event::Eof => return Err(XmlError::Unfinished),
                Event::Start(_)
                | Event::Empty(_)
                | Event::End(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => {}
            }
            if text.len() > TEXT_BYTES_MAX {
                return Err(XmlError::TextTooLong);
            }
        }
        Ok(text.trim().to_owned())
    }

    /// Steps out of the element that is open, unread.
    pub(super) fn skip(&mut self) -> Result<(), XmlError> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            if matches!(self.event()?, Event::Eof) {
                return Err(XmlError::Unfinished);
            }
        }
        Ok(())
    }

    fn event(&mut self) -> Result<Event<'a>, XmlError> {
        let event = self.reader.read_event().map_err(XmlError::Malformed)?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            self.depth += 1;
        } else if matches!(event, Event::End(_)) {
            self.depth = self.depth.saturating_sub(1);
        }
        if self.depth > DEPTH_MAX { Err(XmlError::TooDeep) } else { Ok(event) }
    }
}

/// Resolves a character's number or one of XML's five entities; no unit may define others.
fn resolve(reference: &BytesRef<'_>) -> Result<String, XmlError> {
    if let Some(found) = reference.resolve_char_ref().map_err(XmlError::Malformed)? {
        return Ok(found.to_string());
    }
    quick_xml::escape::resolve_predefined_entity(reference)
        .map(str::to_owned)
        .ok_or(XmlError::Entity)
}
