//! Where the tags of an XML text begin and end, byte by byte, so that it never matters how a text
//! was split into chunks. It knows comments, CDATA, processing instructions, declarations and
//! quotes; it keeps one tag's name and nothing else. It never judges whether the text is well formed.

/// Bytes of a tag's name that are kept; no name of the format comes near it.
const NAME_BYTES_MAX: usize = 96;

const CDATA: &[u8] = b"[CDATA[";

/// What a byte completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Nothing yet: the byte stands inside of markup.
    Pending,
    /// The byte is text between tags.
    Text,
    /// A `<` that begins markup.
    Opening,
    /// A `<` inside of a tag, where none may stand: the tag before it is broken, this one begins.
    Broken,
    /// A start tag.
    Start,
    /// An end tag.
    End,
    /// A tag that is start and end.
    Empty,
    /// A CDATA section.
    Cdata,
    /// A comment, a processing instruction or a declaration.
    Aside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    Opened,
    /// After `<!`, this many bytes of `[CDATA[` seen.
    Bang(usize),
    BangDash,
    Comment(u8),
    Cdata(u8),
    Instruction {
        question: bool,
    },
    Declaration {
        brackets: u32,
        quote: Option<u8>,
    },
    Name {
        closing: bool,
    },
    Inside {
        closing: bool,
        slash: bool,
    },
    Quoted {
        closing: bool,
        quote: u8,
    },
}

/// The place in an XML text.
#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    name: Vec<u8>,
}

impl Lexer {
    /// Begins between two tags.
    pub(super) fn new() -> Self {
        Self { state: State::Text, name: Vec::new() }
    }

    /// Returns true where the last byte stood inside of markup.
    pub(super) fn in_markup(&self) -> bool {
        self.state != State::Text
    }

    /// Returns the name of the last tag, with its prefix.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the name of the last tag, without its prefix.
    pub(super) fn local_name(&self) -> &[u8] {
        let colon = self.name.iter().position(|&byte| byte == b':');
        colon.map_or(self.name.as_slice(), |at| &self.name[at + 1..])
    }

    /// Takes the next byte.
    pub(super) fn step(&mut self, byte: u8) -> Token {
        match self.state {
            State::Text => self.text(byte),
            State::Opened => self.opened(byte),
            State::Bang(seen) => self.bang(seen, byte),
            State::BangDash => match byte {
                b'-' => self.go(State::Comment(0)),
                _ => self.declaration(0, None, byte),
            },
            State::Comment(dashes) => self.comment(dashes, byte),
            State::Cdata(brackets) => self.cdata(brackets, byte),
            State::Instruction { question } => match byte {
                b'>' if question => self.end(Token::Aside),
                _ => self.go(State::Instruction { question: byte == b'?' }),
            },
            State::Declaration { brackets, quote } => self.declaration(brackets, quote, byte),
            State::Name { closing } => self.tag_name(closing, byte),
            State::Inside { closing, slash } => self.inside(closing, slash, byte),
            State::Quoted { closing, quote } => self.quoted(closing, quote, byte),
        }
    }

    fn go(&mut self, state: State) -> Token {
        self.state = state;
        Token::Pending
    }

    fn end(&mut self, token: Token) -> Token {
        self.state = State::Text;
        token
    }

    fn broken(&mut self) -> Token {
        self.state = State::Opened;
        Token::Broken
    }

    fn text(&mut self, byte: u8) -> Token {
        if byte != b'<' {
            return Token::Text;
        }
        self.state = State::Opened;
        Token::Opening
    }

    fn opened(&mut self, byte: u8) -> Token {
        self.name.clear();
        match byte {
            b'/' => self.go(State::Name { closing: true }),
            b'!' => self.go(State::Bang(0)),
            b'?' => self.go(State::Instruction { question: false }),
            b'<' => self.broken(),
            _ => {
                self.state = State::Name { closing: false };
                self.tag_name(false, byte)
            }
        }
    }

    fn bang(&mut self, seen: usize, byte: u8) -> Token {
        if seen == 0 && byte == b'-' {
            return self.go(State::BangDash);
        }
        if byte != CDATA[seen] {
            return self.declaration(0, None, byte);
        }
        match seen + 1 {
            all if all == CDATA.len() => self.go(State::Cdata(0)),
            more => self.go(State::Bang(more)),
        }
    }

    fn comment(&mut self, dashes: u8, byte: u8) -> Token {
        match byte {
            b'-' => self.go(State::Comment(dashes.saturating_add(1))),
            b'>' if dashes >= 2 => self.end(Token::Aside),
            _ => self.go(State::Comment(0)),
        }
    }

    fn cdata(&mut self, brackets: u8, byte: u8) -> Token {
        match byte {
            b']' => self.go(State::Cdata(brackets.saturating_add(1))),
            b'>' if brackets >= 2 => self.end(Token::Cdata),
            _ => self.go(State::Cdata(0)),
        }
    }

    fn declaration(&mut self, brackets: u32, quote: Option<u8>, byte: u8) -> Token {
        let state = match (quote, byte) {
            (Some(open), _) => {
                State::Declaration { brackets, quote: (byte != open).then_some(open) }
            }
            (None, b'"' | b'\'') => State::Declaration { brackets, quote: Some(byte) },
            (None, b'[') => State::Declaration { brackets: brackets.saturating_add(1), quote },
            (None, b']') => State::Declaration { brackets: brackets.saturating_sub(1), quote },
            (None, b'>') if brackets == 0 => return self.end(Token::Aside),
            (None, _) => State::Declaration { brackets, quote },
        };
        self.go(state)
    }

    fn tag_name(&mut self, closing: bool, byte: u8) -> Token {
        match byte {
            b'>' | b'/' | b'<' | b' ' | b'\t' | b'\r' | b'\n' => {
                self.state = State::Inside { closing, slash: false };
                self.inside(closing, false, byte)
            }
            _ => {
                if self.name.len() < NAME_BYTES_MAX {
                    self.name.push(byte);
                }
                Token::Pending
            }
        }
    }

    fn inside(&mut self, closing: bool, slash: bool, byte: u8) -> Token {
        match byte {
            b'>' if closing => self.end(Token::End),
            b'>' if slash => self.end(Token::Empty),
            b'>' => self.end(Token::Start),
            b'<' => self.broken(),
            b'"' | b'\'' => self.go(State::Quoted { closing, quote: byte }),
            _ => self.go(State::Inside { closing, slash: byte == b'/' }),
        }
    }

    fn quoted(&mut self, closing: bool, quote: u8, byte: u8) -> Token {
        match byte {
            b'<' => self.broken(),
            _ if byte == quote => self.go(State::Inside { closing, slash: false }),
            _ => Token::Pending,
        }
    }
}
