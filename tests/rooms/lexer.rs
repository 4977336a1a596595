//! Rust source as words, texts and signs with their lines: enough to see what a file names. It is
//! no parser; comments are left out, and what is in a string is no code.

/// One token of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub line: usize,
    pub kind: Kind,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Word(String),
    Text(String),
    Number(String),
    Sign(char),
}

impl Token {
    /// The word, if it is one.
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            Kind::Text(_) | Kind::Number(_) | Kind::Sign(_) => None,
        }
    }

    /// Whether it is this sign.
    pub fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// The tokens of `source`, without those of its tests at the end of the file.
pub fn tokens(source: &str) -> Vec<Token> {
    without_tests(all_tokens(source))
}

/// The tokens of `source`.
pub fn all_tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next() {
        tokens.push(token);
    }
    tokens
}

/// Code behind `#[cfg(test)] mod …` stands at the end of a file, and may use whatever it likes.
fn without_tests(mut tokens: Vec<Token>) -> Vec<Token> {
    let marker = ["cfg", "test", "mod"];
    let start = (0..tokens.len()).find(|start| {
        let words: Vec<&str> =
            tokens[*start..].iter().take(8).filter_map(Token::word).take(3).collect();
        tokens[*start].is('#') && words == marker
    });
    if let Some(start) = start {
        tokens.truncate(start);
    }
    tokens
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn next(&mut self) -> Option<Token> {
        loop {
            let line = self.line;
            let c = self.peek(0)?;
            let token = |kind| Some(Token { line, kind });
            if c == '/' && self.peek(1) == Some('/') {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.bump();
                }
            } else if c == '/' && self.peek(1) == Some('*') {
                self.block_comment();
            } else if let Some(hashes) = self.raw_string() {
                return token(Kind::Text(self.raw_text(hashes)));
            } else if c == '"' || (matches!(c, 'b' | 'c') && self.peek(1) == Some('"')) {
                self.at += usize::from(c != '"');
                return token(Kind::Text(self.text()));
            } else if c == '\'' && self.is_char_literal() {
                self.char_literal();
            } else if c.is_alphabetic() || c == '_' {
                return token(Kind::Word(self.take(|c| c.is_alphanumeric() || c == '_')));
            } else if c.is_ascii_digit() {
                return token(Kind::Number(self.number()));
            } else {
                self.bump();
                if !c.is_whitespace() {
                    return token(Kind::Sign(c));
                }
            }
        }
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(c) = self.peek(0).filter(|c| wanted(*c)) {
            taken.push(c);
            self.bump();
        }
        taken
    }

    /// A number with its decimals; a range such as `0..5` and a field such as `x.0` are none.
    fn number(&mut self) -> String {
        let mut number = self.take(|c| c.is_alphanumeric() || c == '_');
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.bump();
            number.push('.');
            number.push_str(&self.take(|c| c.is_alphanumeric() || c == '_'));
        }
        number
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while let Some(c) = self.bump() {
            match (c, self.peek(0)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => continue,
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    /// How many `#` a raw string that begins here has.
    fn raw_string(&self) -> Option<usize> {
        let prefix = match (self.peek(0), self.peek(1)) {
            (Some('r'), _) => 1,
            (Some('b' | 'c'), Some('r')) => 2,
            _ => return None,
        };
        let hashes = (prefix..).take_while(|ahead| self.peek(*ahead) == Some('#')).count();
        (self.peek(prefix + hashes) == Some('"')).then_some(hashes)
    }

    fn raw_text(&mut self, hashes: usize) -> String {
        while self.bump().is_some_and(|c| c != '"') {}
        let mut text = String::new();
        while let Some(c) = self.bump() {
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                break;
            }
            text.push(c);
        }
        text
    }

    fn text(&mut self) -> String {
        self.bump();
        let mut text = String::new();
        while let Some(c) = self.bump() {
            match c {
                '"' => break,
                '\\' => {
                    self.bump();
                }
                _ => text.push(c),
            }
        }
        text
    }

    /// `'a'` and `'\n'` are characters, `'a` is a lifetime.
    fn is_char_literal(&self) -> bool {
        self.peek(1) == Some('\\') || self.peek(2) == Some('\'')
    }

    fn char_literal(&mut self) {
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                '\'' => return,
                '\\' => {
                    self.bump();
                }
                _ => {}
            }
        }
    }
}
