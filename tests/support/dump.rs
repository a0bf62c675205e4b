//! Lua 5.4's binary chunks, taken apart and put together again: to make hostile ones.

/// A function of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    pub source: Option<Vec<u8>>,
    pub line: u64,
    pub last: u64,
    /// Parameters, whether there are more, and the size of the frame.
    pub frame: [u8; 3],
    pub code: Vec<u8>,
    pub constants: Vec<(u8, Vec<u8>)>,
    pub upvalues: Vec<[u8; 3]>,
    pub functions: Vec<Function>,
    pub lines: Vec<u8>,
    pub absolute: Vec<(u64, u64)>,
    pub locals: Vec<(Option<Vec<u8>>, u64, u64)>,
    pub names: Vec<Option<Vec<u8>>>,
}

const STRINGS: [u8; 2] = [0x04, 0x14];
const NUMBERS: [u8; 2] = [0x03, 0x13];
const HEADER: usize = 31;

/// A chunk: its header, with the number of the main function's upvalues, and its main function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    pub header: Vec<u8>,
    pub main: Function,
}

impl Dump {
    /// Takes a chunk apart; what stands behind it is left.
    pub fn read(bytes: &[u8]) -> Option<Dump> {
        let (header, rest) = bytes.split_at_checked(HEADER + 1)?;
        let main = Reader { rest }.function()?;
        Some(Dump {
            header: header.to_vec(),
            main,
        })
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.header.clone();
        self.main.write(&mut bytes);
        bytes
    }

    /// Does running the main function do the same in both? (Code that Lua does not check decides
    /// that.)
    pub fn runs_as(&self, other: &Dump) -> bool {
        let own = |f: &Function| Function {
            source: None,
            line: 0,
            last: 0,
            functions: Vec::new(),
            lines: Vec::new(),
            absolute: Vec::new(),
            locals: Vec::new(),
            names: Vec::new(),
            ..f.clone()
        };
        fn captures(f: &Function) -> impl Iterator<Item = &[[u8; 3]]> {
            f.functions
                .iter()
                .map(|function| function.upvalues.as_slice())
        }
        self.header == other.header
            && own(&self.main) == own(&other.main)
            && captures(&self.main).eq(captures(&other.main))
    }
}

impl Function {
    /// The function alone.
    pub fn without_functions(&self) -> Function {
        Function {
            functions: Vec::new(),
            ..self.clone()
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        string(out, self.source.as_deref());
        number(out, self.line);
        number(out, self.last);
        out.extend(self.frame);
        number(out, self.code.len() as u64 / 4);
        out.extend(&self.code);
        number(out, self.constants.len() as u64);
        for (tag, value) in &self.constants {
            out.push(*tag);
            if STRINGS.contains(tag) {
                string(out, Some(value));
            } else {
                out.extend(value);
            }
        }
        number(out, self.upvalues.len() as u64);
        out.extend(self.upvalues.iter().flatten());
        number(out, self.functions.len() as u64);
        for function in &self.functions {
            function.write(out);
        }
        number(out, self.lines.len() as u64);
        out.extend(&self.lines);
        number(out, self.absolute.len() as u64);
        for (pc, line) in &self.absolute {
            number(out, *pc);
            number(out, *line);
        }
        number(out, self.locals.len() as u64);
        for (name, start, end) in &self.locals {
            string(out, name.as_deref());
            number(out, *start);
            number(out, *end);
        }
        number(out, self.names.len() as u64);
        for name in &self.names {
            string(out, name.as_deref());
        }
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    let groups = (1..10)
        .find(|groups| value >> (7 * groups) == 0)
        .unwrap_or(10);
    for i in (0..groups).rev() {
        let last = if i == 0 { 0x80 } else { 0 };
        out.push((value >> (7 * i) & 0x7f) as u8 | last);
    }
}

fn string(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        None => number(out, 0),
        Some(text) => {
            number(out, text.len() as u64 + 1);
            out.extend(text);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn bytes(&mut self, count: u64) -> Option<Vec<u8>> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        Some(bytes.to_vec())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N as u64)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        loop {
            let [byte] = self.array()?;
            value = value.checked_mul(128)? | u64::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                return Some(value);
            }
        }
    }

    fn string(&mut self) -> Option<Option<Vec<u8>>> {
        match self.number()? {
            0 => Some(None),
            length => self.bytes(length - 1).map(Some),
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        if count > self.rest.len() as u64 {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn function(&mut self) -> Option<Function> {
        let mut function = Function {
            source: self.string()?,
            line: self.number()?,
            last: self.number()?,
            frame: self.array()?,
            code: {
                let count = self.number()?;
                self.bytes(count.checked_mul(4)?)?
            },
            constants: self.list(|r| {
                let [tag] = r.array()?;
                let value = if STRINGS.contains(&tag) {
                    r.string()?.unwrap_or_default()
                } else if NUMBERS.contains(&tag) {
                    r.bytes(8)?
                } else {
                    Vec::new()
                };
                Some((tag, value))
            })?,
            upvalues: self.list(Self::array)?,
            functions: self.list(Self::function)?,
            lines: {
                let count = self.number()?;
                self.bytes(count)?
            },
            absolute: self.list(|r| Some((r.number()?, r.number()?)))?,
            locals: self.list(|r| Some((r.string()?, r.number()?, r.number()?)))?,
            names: Vec::new(),
        };
        // Lua takes any number but 0 for that of the upvalues.
        let count = if self.number()? == 0 {
            0
        } else {
            function.upvalues.len()
        };
        function.names = (0..count).map(|_| self.string()).collect::<Option<_>>()?;
        Some(function)
    }
}
