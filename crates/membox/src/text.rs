//! The text of a file or of stdin, whatever it is packed and encoded in. What it is, its first bytes say, and not its
//! name.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Cursor, Read};

/// Bytes by which it is known what a file is.
const LOOKED_AT: usize = 512;
/// How often a file may be packed: a .gz in a .gz is seen now and then.
const MAX_PACKED: usize = 3;
/// A byte that no UTF-8 has, in the place of what no text has.
const NO_TEXT: u8 = 0xff;

/// Formats that are known and not read, by how they begin, with what to do about them.
const OTHERS: [(&[u8], &str); 16] = [
    (
        b"PAR1",
        "a Parquet file: write it as JSON Lines first, such as by `duckdb -c \"COPY (FROM 'FILE') TO 'FILE.jsonl'\"`",
    ),
    (b"ARROW1", "an Arrow file: write it as JSON Lines first"),
    (b"Obj\x01", "an Avro file: write it as JSON Lines first"),
    (b"ORC", "an ORC file: write it as JSON Lines first"),
    (b"SQLite format 3\0", "an SQLite database: write its rows as JSON Lines first"),
    (b"PK\x03\x04", "a ZIP archive (or a spreadsheet): unpack it first, such as by `unzip -p FILE`"),
    (b"BZh", "bzip2: unpack it first, such as by `bzip2 -dc FILE`"),
    (b"\xfd7zXZ\0", "xz: unpack it first, such as by `xz -dc FILE`"),
    (b"\x28\xb5\x2f\xfd", "zstd: unpack it first, such as by `zstd -dc FILE`"),
    (b"\x04\x22\x4d\x18", "lz4: unpack it first, such as by `lz4 -dc FILE`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"\x93NUMPY", "a NumPy file; vectors are imported in the field \"vector\" of a record"),
    (b"%PDF", "a PDF; records of its text are wanted"),
    (b"\x89PNG", "an image; images are given with messages"),
    (b"\xff\xd8\xff", "an image; images are given with messages"),
    (b"\x7fELF", "a program"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Gzip,
    Utf8 { mark: usize },
    Utf16 { mark: usize, little: bool },
    Other(&'static str),
}

fn look(begin: &[u8]) -> Found {
    if begin.starts_with(b"\x1f\x8b") {
        return Found::Gzip;
    }
    // A text may begin with the same letters.
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| begin.starts_with(magic))
        && !is_text(begin)
    {
        return Found::Other(what);
    }
    if begin.get(257..262) == Some(b"ustar") {
        return Found::Other("a tar archive: unpack it first, such as by `tar -xOf FILE`");
    }
    match begin {
        [0xef, 0xbb, 0xbf, ..] => Found::Utf8 { mark: 3 },
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            Found::Other("UTF-32: write it as UTF-8 first, such as by `iconv -f UTF-32 -t UTF-8 FILE`")
        }
        [0xff, 0xfe, ..] => Found::Utf16 { mark: 2, little: true },
        [0xfe, 0xff, ..] => Found::Utf16 { mark: 2, little: false },
        // JSON begins with a sign of ASCII.
        [1..0x80, 0, ..] => Found::Utf16 { mark: 0, little: true },
        [0, 1..0x80, ..] => Found::Utf16 { mark: 0, little: false },
        _ if begin.contains(&0) => Found::Other("binary data of a kind that is not known here; text is wanted"),
        _ => Found::Utf8 { mark: 0 },
    }
}

/// Whether bytes are UTF-8, of which the last character may be cut, without control characters that no text has.
fn is_text(begin: &[u8]) -> bool {
    let is_utf8 = std::str::from_utf8(begin).map_or_else(|error| error.error_len().is_none(), |_| true);
    is_utf8 && begin.iter().all(|&byte| byte >= b'\t')
}

/// The text of a file, as UTF-8 without a byte order mark. What is no text in its encoding gives bytes that are no
/// UTF-8, so that its line is refused. A file of another kind is an error that says what it is and what to do.
pub fn text_of<'a>(file: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut reader: Box<dyn BufRead + 'a> = Box::new(BufReader::with_capacity(1 << 18, file));
    for _ in 0..=MAX_PACKED {
        // A pipe gives what it has: less than is asked for is not yet the end.
        let mut begin = Vec::with_capacity(LOOKED_AT);
        reader.by_ref().take(LOOKED_AT as u64).read_to_end(&mut begin)?;
        let found = look(&begin);
        let skip = match found {
            Found::Utf8 { mark } | Found::Utf16 { mark, .. } => mark,
            _ => 0,
        };
        let mut rest = Cursor::new(begin);
        rest.set_position(skip as u64);
        let whole = rest.chain(reader);
        reader = match found {
            Found::Utf8 { .. } => return Ok(Box::new(whole)),
            Found::Utf16 { little, .. } => return Ok(Box::new(BufReader::new(Utf16::new(whole, little)))),
            Found::Other(what) => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is {what}"))),
            Found::Gzip => Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(whole))),
        };
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it is packed over and over"))
}

/// Turns UTF-16 into UTF-8.
struct Utf16<R> {
    inner: R,
    little: bool,
    /// A byte whose other half, and a unit whose pair, are still to come.
    byte: Option<u8>,
    high: Option<u16>,
    out: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: Read> Utf16<R> {
    fn new(inner: R, little: bool) -> Self {
        Self { inner, little, byte: None, high: None, out: Vec::new(), given: 0, ended: false }
    }

    fn unit(&mut self, unit: u16) {
        if let Some(high) = self.high.take() {
            if let Some(Ok(char)) = char::decode_utf16([high, unit]).next() {
                return self.char(char);
            }
            self.out.push(NO_TEXT);
        }
        match char::decode_utf16([unit]).next() {
            Some(Ok(char)) => self.char(char),
            _ if (0xd800..0xdc00).contains(&unit) => self.high = Some(unit),
            _ => self.out.push(NO_TEXT),
        }
    }

    fn char(&mut self, char: char) {
        self.out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Reads on until there is something to give.
    fn fill(&mut self) -> io::Result<()> {
        (self.given, self.ended) = (0, false);
        self.out.clear();
        let mut bytes = [0; 1 << 14];
        while self.out.is_empty() && !self.ended {
            let count = match self.inner.read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.ended = count == 0;
            for &byte in &bytes[..count] {
                match self.byte.take() {
                    None => self.byte = Some(byte),
                    Some(first) if self.little => self.unit(u16::from_le_bytes([first, byte])),
                    Some(first) => self.unit(u16::from_be_bytes([first, byte])),
                }
            }
        }
        if self.ended && (self.byte.take().is_some() | self.high.take().is_some()) {
            self.out.push(NO_TEXT);
        }
        Ok(())
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.out.len() && !(self.ended && self.out.is_empty()) {
            self.fill()?;
        }
        let count = buffer.len().min(self.out.len() - self.given);
        buffer[..count].copy_from_slice(&self.out[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    /// Gives its bytes in pieces of these sizes, over and over, as a pipe does.
    pub struct Pieces<'a> {
        pub bytes: &'a [u8],
        pub sizes: &'a [usize],
        pub next: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.sizes[self.next % self.sizes.len()].max(1);
            self.next += 1;
            let count = size.min(buffer.len()).min(self.bytes.len());
            buffer[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes = &self.bytes[count..];
            Ok(count)
        }
    }

    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    /// A text in every encoding that is read.
    pub fn encodings(text: &str) -> Vec<Vec<u8>> {
        let utf16 = |little: bool, mark: &str| -> Vec<u8> {
            let units = mark.encode_utf16().chain(text.encode_utf16());
            units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
        };
        let plain = text.as_bytes().to_vec();
        let with_mark = [b"\xef\xbb\xbf".as_slice(), &plain].concat();
        let half = plain.len() / 2;
        let members = [gzip(&plain[..half]), gzip(&plain[half..])].concat();
        vec![
            gzip(&with_mark),
            gzip(&gzip(&plain)),
            gzip(&utf16(true, "\u{feff}")),
            members,
            with_mark,
            utf16(true, "\u{feff}"),
            utf16(false, "\u{feff}"),
            plain,
        ]
    }

    fn read(bytes: &[u8], sizes: &[usize]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        text_of(Pieces { bytes, sizes, next: 0 })?.read_to_end(&mut text)?;
        Ok(text)
    }

    proptest! {
        #[test]
        fn a_text_is_the_same_in_every_encoding_and_however_it_arrives(
            text in "[{\\[]\\PC{0,400}",
            sizes in prop::collection::vec(1usize..70, 1..6),
        ) {
            for bytes in encodings(&text) {
                prop_assert_eq!(read(&bytes, &sizes).expect("a text"), text.as_bytes());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), mark in 0usize..6) {
            let marks: [&[u8]; 6] = [b"", b"\x1f\x8b\x08\0", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"{\0"];
            let _ = read(&[marks[mark], &bytes].concat(), &[7]);
        }
    }

    #[test]
    fn what_is_no_text_in_utf_16_is_no_utf_8() {
        // A high surrogate alone, and an odd byte at the end.
        for bytes in [b"\xff\xfe{\0\x00\xd8}\0".as_slice(), b"\xff\xfe{\0}"] {
            assert!(String::from_utf8(read(bytes, &[3]).expect("bytes")).is_err());
        }
    }

    #[test]
    fn other_formats_are_named_with_what_to_do() {
        for (bytes, word) in [
            (b"PAR1\x15\x04".as_slice(), "Parquet"),
            (b"PK\x03\x04aaaa", "ZIP"),
            (b"BZh91AY&SY\x02\xb4", "bzip2 -dc"),
            (b"SQLite format 3\0", "SQLite"),
            (b"abc\0\0\0def", "binary"),
        ] {
            let error = read(bytes, &[5]).expect_err("no text").to_string();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(read(b"ORC is a name", &[5]).expect("a text"), b"ORC is a name");
        let cut = gzip("{\"text\": \"a long text\"}\n".repeat(100).as_bytes());
        assert!(read(&cut[..cut.len() / 2], &[64]).is_err(), "a cut file is no whole one");
    }
}
