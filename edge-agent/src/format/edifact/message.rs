//! Messages of an interchange: what is common to those of trade, read into fields. Counts and
//! references of the envelope are checked; a fault names its segment and where it stands. Names and
//! addresses of parties are never read.

use std::collections::BTreeMap;

use edifact_rs::{Charset, EdifactError, Segment};
use shared::money::{Cents, DecimalError, Milli};

/// Why an interchange or a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("after segment {after} nothing more is readable")]
    Syntax {
        after: usize,
        #[source]
        source: EdifactError,
    },
    #[error("segment {number} ({tag}): {what}")]
    Segment { number: usize, tag: String, what: String },
    #[error("segment {number} ({tag}): no number")]
    Number {
        number: usize,
        tag: String,
        #[source]
        source: DecimalError,
    },
    #[error("it ends without {0}")]
    Unended(&'static str),
}

/// A message, as far as it is read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its kind, such as `RECADV`.
    pub kind: String,
    /// The sender of its interchange.
    pub sender: String,
    /// The document's number.
    pub document: String,
    /// What the document does to an earlier one: 9 is an original.
    pub function: String,
    /// Its dates by qualifier: text and format.
    pub dates: BTreeMap<String, (String, String)>,
    /// Its references by qualifier.
    pub references: BTreeMap<String, String>,
    /// Its parties' numbers by qualifier.
    pub parties: BTreeMap<String, String>,
    /// Amounts of the whole message: qualifier and amount.
    pub amounts: Vec<(String, Cents)>,
    /// Its lines.
    pub lines: Vec<MessageLine>,
}

/// A line of a message.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MessageLine {
    /// Its number in the document.
    pub number: String,
    /// The place of its segment in the interchange.
    pub segment: usize,
    /// Its article number and what kind of number it is.
    pub article: (String, String),
    /// Further numbers of the article, with their kinds.
    pub others: Vec<(String, String)>,
    /// Quantities: qualifier, quantity, unit.
    pub quantities: Vec<(String, Milli, String)>,
    /// Amounts: qualifier and amount.
    pub amounts: Vec<(String, Cents)>,
    /// Its dates by qualifier: text and format.
    pub dates: BTreeMap<String, (String, String)>,
    /// Its references by qualifier.
    pub references: BTreeMap<String, String>,
    /// Its lot.
    pub lot: Option<String>,
}

/// A segment and its place, counted from 1.
struct Here<'a> {
    segment: Segment<'a>,
    number: usize,
}

impl Here<'_> {
    fn text(&self, element: usize, component: usize) -> &str {
        self.segment.component_str(element, component).unwrap_or("").trim()
    }

    fn needed(&self, element: usize, component: usize, what: &str) -> Result<&str, MessageError> {
        match self.text(element, component) {
            "" => Err(self.fault(format!("{what} is missing"))),
            text => Ok(text),
        }
    }

    fn fault(&self, what: impl Into<String>) -> MessageError {
        let (number, tag) = (self.number, self.segment.tag().to_owned());
        MessageError::Segment { number, tag, what: what.into() }
    }

    /// Returns a decimal with a point; either mark may stand whatever the advice says (ISO 9735).
    fn decimal(&self, element: usize, component: usize) -> Result<String, MessageError> {
        let text = self.needed(element, component, "the number")?;
        Ok(text.replacen(',', ".", 1))
    }

    fn count(&self, element: usize) -> Result<usize, MessageError> {
        let text = self.needed(element, 0, "the count")?;
        text.parse().map_err(|_| self.fault("its count is no number"))
    }

    fn number(&self, source: DecimalError) -> MessageError {
        let (number, tag) = (self.number, self.segment.tag().to_owned());
        MessageError::Number { number, tag, source }
    }
}

/// Reads all messages of an interchange.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Message>, MessageError> {
    let bytes = edifact_rs::decode_interchange(bytes).or_else(|_| {
        // Bytes outside of the alphabet that is named stand in names, which are not read.
        Charset::from_syntax_identifier("UNOC")?.transcode_to_utf8(bytes)
    });
    let bytes = bytes.map_err(|source| MessageError::Syntax { after: 0, source })?;
    let mut envelope = Envelope::default();
    for (at, segment) in edifact_rs::from_bytes(&bytes).enumerate() {
        let segment = segment.map_err(|source| MessageError::Syntax { after: at, source })?;
        envelope.take(&Here { segment, number: at + 1 })?;
    }
    envelope.end()
}

/// What is open while segments go by.
#[derive(Default)]
struct Envelope {
    sender: String,
    interchange: Option<String>,
    ended: bool,
    group: Option<(String, usize)>,
    groups: usize,
    message: Option<Open>,
    messages: Vec<Message>,
}

/// A message that has begun.
struct Open {
    reference: String,
    first: usize,
    in_lines: bool,
    message: Message,
}

impl Envelope {
    fn take(&mut self, here: &Here<'_>) -> Result<(), MessageError> {
        if self.ended {
            return Err(here.fault("it stands behind the interchange's end"));
        }
        let tag = here.segment.tag();
        if (tag == "UNB") != self.interchange.is_none() {
            return Err(here.fault("an interchange begins with one UNB"));
        }
        match tag {
            "UNB" => {
                self.sender = here.text(1, 0).to_owned();
                self.interchange = Some(here.needed(4, 0, "its reference")?.to_owned());
            }
            "UNG" if self.group.is_none() && self.message.is_none() => {
                self.group = Some((here.text(4, 0).to_owned(), self.messages.len()));
            }
            "UNE" => {
                let Some((reference, before)) = self.group.take() else {
                    return Err(here.fault("no group is open"));
                };
                self.groups += 1;
                check(here, self.messages.len() - before, "messages", &reference)?;
            }
            "UNH" if self.message.is_none() => self.begin(here)?,
            "UNT" => {
                let Some(open) = self.message.take() else {
                    return Err(here.fault("no message is open"));
                };
                check(here, here.number - open.first + 1, "segments", &open.reference)?;
                self.messages.push(open.message);
            }
            "UNZ" if self.message.is_none() && self.group.is_none() => {
                let units = if self.groups > 0 { self.groups } else { self.messages.len() };
                let reference = self.interchange.clone().unwrap_or_default();
                check(here, units, "messages or groups", &reference)?;
                self.ended = true;
            }
            _ => match &mut self.message {
                Some(open) => body(open, here)?,
                None => return Err(here.fault("it stands outside of a message")),
            },
        }
        Ok(())
    }

    fn begin(&mut self, here: &Here<'_>) -> Result<(), MessageError> {
        let kind = here.needed(1, 0, "the message's kind")?.to_owned();
        let message = Message { kind, sender: self.sender.clone(), ..Message::default() };
        let reference = here.needed(0, 0, "its reference")?.to_owned();
        self.message = Some(Open { reference, first: here.number, in_lines: false, message });
        Ok(())
    }

    fn end(self) -> Result<Vec<Message>, MessageError> {
        if self.ended { Ok(self.messages) } else { Err(MessageError::Unended("UNZ")) }
    }
}

/// Holds a trailer's count and reference against what was read.
fn check(here: &Here<'_>, found: usize, what: &str, wanted: &str) -> Result<(), MessageError> {
    let said = here.count(0)?;
    if said != found {
        return Err(here.fault(format!("it counts {said} {what}, there are {found}")));
    }
    if here.text(1, 0) != wanted {
        return Err(here.fault("its reference is not that of its beginning"));
    }
    Ok(())
}

fn body(open: &mut Open, here: &Here<'_>) -> Result<(), MessageError> {
    let message = &mut open.message;
    match here.segment.tag() {
        "UNH" | "UNZ" | "UNG" => return Err(here.fault("the message before it has no UNT")),
        "BGM" => {
            message.document = here.needed(1, 0, "the document's number")?.to_owned();
            message.function = here.text(2, 0).to_owned();
        }
        "LIN" => {
            open.in_lines = true;
            message.lines.push(MessageLine {
                number: here.needed(0, 0, "the line's number")?.to_owned(),
                segment: here.number,
                article: (here.text(2, 0).to_owned(), here.text(2, 1).to_owned()),
                ..MessageLine::default()
            });
        }
        // What follows speaks of the whole message again.
        "UNS" | "CNT" => open.in_lines = false,
        _ => match message.lines.last_mut().filter(|_| open.in_lines) {
            Some(line) => of_line(line, here)?,
            None => of_message(message, here)?,
        },
    }
    Ok(())
}

fn of_message(message: &mut Message, here: &Here<'_>) -> Result<(), MessageError> {
    match here.segment.tag() {
        "DTM" => date(&mut message.dates, here),
        "RFF" => reference(&mut message.references, here),
        "NAD" => {
            let number = here.text(1, 0).to_owned();
            message.parties.insert(here.text(0, 0).to_owned(), number);
        }
        "MOA" => message.amounts.push(amount(here)?),
        _ => {}
    }
    Ok(())
}

fn of_line(line: &mut MessageLine, here: &Here<'_>) -> Result<(), MessageError> {
    match here.segment.tag() {
        "PIA" => {
            let numbers = (1..here.segment.elements.len())
                .map(|at| (here.text(at, 0).to_owned(), here.text(at, 1).to_owned()));
            line.others.extend(numbers);
        }
        "QTY" => {
            let quantity =
                Milli::parse(&here.decimal(0, 1)?).map_err(|fault| here.number(fault))?;
            let qualifier = here.needed(0, 0, "the qualifier")?.to_owned();
            line.quantities.push((qualifier, quantity, here.text(0, 2).to_owned()));
        }
        "MOA" => line.amounts.push(amount(here)?),
        "DTM" => date(&mut line.dates, here),
        "RFF" => reference(&mut line.references, here),
        "GIN" if here.text(0, 0) == "BX" => line.lot = Some(here.text(1, 0).to_owned()),
        _ => {}
    }
    Ok(())
}

/// The first of a kind stands; what comes again speaks of a part.
fn date(dates: &mut BTreeMap<String, (String, String)>, here: &Here<'_>) {
    let found = (here.text(0, 1).to_owned(), here.text(0, 2).to_owned());
    dates.entry(here.text(0, 0).to_owned()).or_insert(found);
}

fn reference(references: &mut BTreeMap<String, String>, here: &Here<'_>) {
    let found = here.text(0, 1).to_owned();
    references.entry(here.text(0, 0).to_owned()).or_insert(found);
}

fn amount(here: &Here<'_>) -> Result<(String, Cents), MessageError> {
    let cents = Cents::parse(&here.decimal(0, 1)?).map_err(|fault| here.number(fault))?;
    Ok((here.text(0, 0).to_owned(), cents))
}
