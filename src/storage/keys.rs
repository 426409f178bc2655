//! The key that encrypts snapshots and logs and authenticates the manifest: where it comes from, what its public name is, and the keys of single files that follow from it.
//!
//! The configured key never encrypts anything itself. Each file has a random salt, and its own key is HKDF-SHA256 (RFC 5869) of the configured
//! key, that salt, and a digest of the file's header. So no two files share a key, and a header that was exchanged makes every block of the file
//! unreadable. Key material is wiped when it is dropped and never appears in a message.
//!
//! **Nonces.** A nonce is the block's number (its lower half) and 8 random bytes, which are stored. The number alone would do, if a process never did anything
//! twice; but a virtual machine that is set back to an image of its memory does, with other bodies under the same numbers, and two bodies under one
//! nonce give each other and the key of the tags away.

use std::env::VarError;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Bytes of a file's salt.
pub const SALT_LEN: usize = 32;
/// Bytes that encryption adds to a block.
pub const TAG_LEN: usize = 16;
/// Random bytes in the nonce of a block.
pub const NONCE_RANDOM_LEN: usize = 8;
/// No file or command has a longer key to say.
const KEY_TEXT_MAX: usize = 4096;
/// What a key's id is a hash of, before the key; it ties the id to this use.
const KEY_ID_CONTEXT: &[u8] = b"cloakroom key id";
/// The purpose of a file's key, as HKDF wants it; the number is the version of the derivation.
const FILE_KEY_CONTEXT: &[u8] = b"cloakroom file key 1";

/// Bytes of the tag of a manifest.
pub const MANIFEST_TAG_LEN: usize = 32;
/// The purpose of the key that authenticates manifests.
const MANIFEST_KEY_CONTEXT: &[u8] = b"cloakroom manifest key 1";

/// The public name of a key: it tells keys apart and says nothing about them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyId({self})")
    }
}

/// Where the configuration says that the key is; at most one of three places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Files are not encrypted.
    None,
    /// A file that holds the key as text.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A command, run by `sh -c`, that prints the key: the way to a key store.
    Command(String),
}

impl KeySource {
    /// The source that three directives name; empty means not set.
    ///
    /// # Errors
    /// If more than one is set.
    pub fn choose(file: &str, environment: &str, command: &str) -> Result<KeySource, KeyError> {
        match (file, environment, command) {
            ("", "", "") => Ok(KeySource::None),
            (file, "", "") => Ok(KeySource::File(file.into())),
            ("", environment, "") => Ok(KeySource::Environment(environment.to_owned())),
            ("", "", command) => Ok(KeySource::Command(command.to_owned())),
            _ => Err(KeyError::SeveralSources),
        }
    }

    /// Fetches the key; `None` if no source is configured. A command is waited for.
    ///
    /// # Errors
    /// If the source cannot be read, or what it says is no key.
    pub fn load(&self) -> Result<Option<EncryptionKey>, KeyError> {
        let text = match self {
            KeySource::None => return Ok(None),
            KeySource::File(path) => File::open(path)
                .and_then(read_text)
                .map_err(|error| KeyError::File { path: path.clone(), error })?,
            KeySource::Environment(name) => {
                let problem = |error: VarError| KeyError::Environment {
                    name: name.clone(),
                    problem: error.to_string(),
                };
                Zeroizing::new(std::env::var(name).map_err(problem)?.into_bytes())
            }
            KeySource::Command(command) => {
                output_of(command).map_err(|problem| KeyError::Command { problem })?
            }
        };
        EncryptionKey::parse(&text).map(Some)
    }
}

/// What a command prints.
fn output_of(command: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    // Its complaints go to our own standard error, where the operator looks.
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    // Its end of the pipe is closed when enough is read: a command that goes on printing fails.
    let text = child.stdout.take().map_or(Ok(Zeroizing::default()), read_text);
    let status = child.wait().map_err(|error| error.to_string())?;
    let text = text.map_err(|error| error.to_string())?;
    // What is too long is no key, and that is the error to tell.
    if status.success() || text.len() > KEY_TEXT_MAX { Ok(text) } else { Err(status.to_string()) }
}

/// Reads to the end, or as much as shows that it is no key. The room is taken at once, so that no copy is left behind where it grew.
fn read_text(input: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::with_capacity(2 * KEY_TEXT_MAX));
    input.take(KEY_TEXT_MAX as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Why there is no key.
#[derive(Debug)]
pub enum KeyError {
    /// More than one directive names a source.
    SeveralSources,
    /// The key file cannot be read.
    File { path: PathBuf, error: io::Error },
    /// The environment variable is not there or no text.
    Environment { name: String, problem: String },
    /// The command did not run or did not succeed.
    Command { problem: String },
    /// What was found is not 32 bytes in one of the two spellings.
    NotAKey,
}

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::SeveralSources => {
                write!(
                    formatter,
                    "the encryption key may come from a file, an environment variable or a command, but only from one of them"
                )
            }
            KeyError::File { path, error } => {
                write!(formatter, "the encryption key cannot be read from {}: {error}", path.display())
            }
            KeyError::Environment { name, problem } => {
                write!(
                    formatter,
                    "the encryption key cannot be read from the environment variable {name}: {problem}"
                )
            }
            KeyError::Command { problem } => {
                write!(formatter, "the command that prints the encryption key failed: {problem}")
            }
            KeyError::NotAKey => {
                write!(
                    formatter,
                    "an encryption key is 32 bytes, written as 64 hexadecimal digits or as base64"
                )
            }
        }
    }
}

impl std::error::Error for KeyError {}

/// The configured key.
#[derive(Clone)]
pub struct EncryptionKey {
    bytes: Zeroizing<[u8; KEY_LEN]>,
    id: KeyId,
    accepts_plaintext: bool,
}

impl EncryptionKey {
    /// A key of these bytes. What is read with it has to be encrypted.
    pub fn new(bytes: [u8; KEY_LEN]) -> EncryptionKey {
        let bytes = Zeroizing::new(bytes);
        let mut named = Zeroizing::new(KEY_ID_CONTEXT.to_vec());
        named.extend_from_slice(&*bytes);
        let hash = digest(&SHA256, &named);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.as_ref()[..8]);
        EncryptionKey { bytes, id: KeyId(id), accepts_plaintext: false }
    }

    /// Reads 64 hexadecimal digits or the base64 of 32 bytes (RFC 4648, the alphabet of `+/` or of `-_`, with or without `=`); white space
    /// around them does not count.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`].
    pub fn parse(text: &[u8]) -> Result<EncryptionKey, KeyError> {
        if text.len() > KEY_TEXT_MAX {
            return Err(KeyError::NotAKey);
        }
        let text = text.trim_ascii();
        let mut bytes = match text.len() {
            64 => from_hex(text),
            43 => from_base64(text),
            44 => text.strip_suffix(b"=").and_then(from_base64),
            _ => None,
        }
        .ok_or(KeyError::NotAKey)?;
        let key = EncryptionKey::new(bytes);
        bytes.zeroize();
        Ok(key)
    }

    /// Whether files are read, too, that are not encrypted: on the way from no key to this one. Who can write to the directory can then make the
    /// server believe anything.
    pub fn accepting_plaintext(self, accepts_plaintext: bool) -> EncryptionKey {
        EncryptionKey { accepts_plaintext, ..self }
    }

    /// See [`EncryptionKey::accepting_plaintext`].
    pub fn accepts_plaintext(&self) -> bool {
        self.accepts_plaintext
    }

    /// Its public name: the first 8 bytes of SHA-256 of "cloakroom key id" and the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key of one file, or of the part of a log behind a resume block.
    ///
    /// # Errors
    /// If the library refuses, which it has no reason to.
    pub fn for_file(&self, salt: &[u8; SALT_LEN], header: &[u8]) -> io::Result<FileKey> {
        let refused = |_| io::Error::other("the key of a file could not be derived");
        let header = digest(&SHA256, header);
        let extracted = Salt::new(HKDF_SHA256, salt).extract(&*self.bytes);
        let info = [FILE_KEY_CONTEXT, header.as_ref()];
        let expanded = extracted.expand(&info, &AES_256_GCM).map_err(refused)?;
        Ok(FileKey { cipher: LessSafeKey::new(UnboundKey::from(expanded)) })
    }
}

impl EncryptionKey {
    /// The tag that shows that a holder of the key has written a manifest of these bytes.
    ///
    /// # Errors
    /// If the library refuses, which it has no reason to.
    pub fn manifest_tag(&self, bytes: &[u8]) -> io::Result<[u8; MANIFEST_TAG_LEN]> {
        let tag = hmac::sign(&self.manifest_key()?, bytes);
        tag.as_ref().try_into().map_err(|_| io::Error::other("a tag has an unexpected length"))
    }

    /// Whether a tag is the one of these bytes; how long that takes says nothing of where it is not.
    ///
    /// # Errors
    /// As [`EncryptionKey::manifest_tag`].
    pub fn is_manifest_tag(&self, bytes: &[u8], tag: &[u8; MANIFEST_TAG_LEN]) -> io::Result<bool> {
        Ok(hmac::verify(&self.manifest_key()?, bytes, tag).is_ok())
    }

    fn manifest_key(&self) -> io::Result<hmac::Key> {
        let extracted = Salt::new(HKDF_SHA256, &[]).extract(&*self.bytes);
        let expanded = extracted.expand(&[MANIFEST_KEY_CONTEXT], HMAC_SHA256);
        expanded
            .map(hmac::Key::from)
            .map_err(|_| io::Error::other("the key of the manifest could not be derived"))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EncryptionKey({})", self.id)
    }
}

fn from_hex(text: &[u8]) -> Option<[u8; KEY_LEN]> {
    let mut bytes = [0; KEY_LEN];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |letter: u8| char::from(letter).to_digit(16);
        *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
    }
    Some(bytes)
}

/// 43 letters are 258 bits: 32 bytes and two zero bits.
fn from_base64(text: &[u8]) -> Option<[u8; KEY_LEN]> {
    let (mut bytes, mut filled) = ([0; KEY_LEN], 0);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(filled)? = (bits >> count) as u8;
            filled += 1;
            bits &= (1 << count) - 1;
        }
    }
    (filled == KEY_LEN && bits == 0).then_some(bytes)
}

/// Random bytes: the salt of a file, its id, a part of a nonce.
///
/// They are the kernel's: it is told when a virtual machine goes on from an image of its memory (VMGENID), while a generator of the process's own would go
/// on from its old state. They are taken here and not passed in, because what repeats would repeat nonces.
///
/// # Errors
/// If there is no generator.
pub fn fresh_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = retry_on_intr(|| getrandom(&mut bytes[..], GetRandomFlags::empty()))?;
    if filled == N { Ok(bytes) } else { Err(io::Error::other("too few random bytes")) }
}

/// What makes the encryption of one block different from that of all others with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockNonce([u8; NONCE_LEN]);

impl BlockNonce {
    /// Of the block of this number and its random bytes. Two blocks of a file have different numbers, up to 2^32 of them.
    pub fn new(sequence: u64, random: [u8; NONCE_RANDOM_LEN]) -> BlockNonce {
        let mut nonce = [0; NONCE_LEN];
        let (number, rest) = nonce.split_at_mut(NONCE_LEN - NONCE_RANDOM_LEN);
        number.copy_from_slice(&(sequence as u32).to_le_bytes());
        rest.copy_from_slice(&random);
        BlockNonce(nonce)
    }

    /// As files of version 1 have it: the number alone.
    pub fn of_version_1(sequence: u64) -> BlockNonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - 8..].copy_from_slice(&sequence.to_le_bytes());
        BlockNonce(nonce)
    }

    fn take(self) -> Nonce {
        Nonce::assume_unique_for_key(self.0)
    }
}

/// The key of one file: seals and opens its blocks.
pub struct FileKey {
    cipher: LessSafeKey,
}

impl FileKey {
    /// Encrypts `body` in place; the tag is to be appended. `header` is authenticated along with it. The nonce is one that no other body had.
    ///
    /// # Errors
    /// If the library refuses, for example because the body is too long.
    pub fn seal(&self, nonce: BlockNonce, header: &[u8], body: &mut [u8]) -> io::Result<[u8; TAG_LEN]> {
        let tag = self.cipher.seal_in_place_separate_tag(nonce.take(), Aad::from(header), body);
        let tag = tag.map_err(|_| io::Error::other("a block could not be encrypted"))?;
        tag.as_ref().try_into().map_err(|_| io::Error::other("a tag has an unexpected length"))
    }

    /// Decrypts `body`, tag included, in place; `None` if it is not what was sealed under this nonce and header.
    pub fn open<'a>(&self, nonce: BlockNonce, header: &[u8], body: &'a mut [u8]) -> Option<&'a [u8]> {
        self.cipher.open_in_place(nonce.take(), Aad::from(header), body).ok().map(|body| &*body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; KEY_LEN] = *b"0123456789abcdef0123456789ABCDE\xff";

    #[test]
    fn a_key_has_two_spellings() {
        let id = EncryptionKey::new(KEY).id();
        for text in [
            "303132333435363738396162636465663031323334353637383941424344 45ff".replace(' ', ""),
            " 303132333435363738396162636465663031323334353637383941424344 45FF\n".replacen(" 45", "45", 1),
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERf8=\n".to_owned(),
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERf8".to_owned(),
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERf8=".replace('/', "_"),
        ] {
            assert_eq!(EncryptionKey::parse(text.as_bytes()).expect(&text).id(), id, "{text}");
        }
        for wrong in ["", "secret", &"0".repeat(63), &"g".repeat(64), &"=".repeat(44), &"0".repeat(5000)] {
            assert!(matches!(EncryptionKey::parse(wrong.as_bytes()), Err(KeyError::NotAKey)), "{wrong}");
        }
        // The last letter of base64 has two bits too many; they must be zero.
        assert!(EncryptionKey::parse(b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlBQkNERf9").is_err());
    }

    #[test]
    fn nothing_prints_a_key() {
        let key = EncryptionKey::new(KEY);
        assert_eq!(format!("{key:?}"), format!("EncryptionKey({})", key.id()));
        assert_eq!(key.id().to_string().len(), 16);
    }

    #[test]
    fn a_key_comes_from_one_of_three_sources() {
        let path = std::env::temp_dir().join(format!("cloakroom-key-{}", std::process::id()));
        std::fs::write(&path, "ab".repeat(32)).expect("writes");
        let name = path.display().to_string();
        let id = EncryptionKey::new([0xab; KEY_LEN]).id();
        let file = KeySource::choose(&name, "", "").expect("one source");
        assert_eq!(file.load().expect("loads").expect("a key").id(), id);
        let command = KeySource::choose("", "", &format!("cat {name}")).expect("one source");
        assert_eq!(command.load().expect("loads").expect("a key").id(), id);
        std::fs::remove_file(path).expect("removes");
        assert!(KeySource::choose("", "", "").expect("none").load().expect("none").is_none());
        assert!(matches!(KeySource::choose("a", "b", ""), Err(KeyError::SeveralSources)));
        for (source, message) in [
            (file, "cannot be read from /"),
            (KeySource::Environment("CLOAKROOM_NO_SUCH_KEY".to_owned()), "CLOAKROOM_NO_SUCH_KEY"),
            (KeySource::Command("exit 3".to_owned()), "exit status: 3"),
            (KeySource::Command("echo x".to_owned()), "64 hexadecimal digits"),
            // These never end.
            (KeySource::Command("yes".to_owned()), "64 hexadecimal digits"),
            (KeySource::File("/dev/zero".into()), "64 hexadecimal digits"),
        ] {
            let error = source.load().expect_err("no key").to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn files_with_other_salts_or_headers_have_other_keys() {
        let key = EncryptionKey::new(KEY);
        let salts: [[u8; SALT_LEN]; 2] = [fresh_bytes().expect("random"), fresh_bytes().expect("random")];
        let [salt, other] = salts;
        assert_ne!(salt, other);
        let nonce = |sequence| BlockNonce::new(sequence, [9; 8]);
        let sealer = key.for_file(&salt, b"header").expect("derives");
        let mut sealed = b"body".to_vec();
        let tag = sealer.seal(nonce(7), b"block", &mut sealed).expect("seals");
        sealed.extend_from_slice(&tag);
        let open = |key: FileKey, sequence, block: &[u8]| {
            key.open(nonce(sequence), block, &mut sealed.clone()).map(<[u8]>::to_vec)
        };
        let derive = |salt, header| key.for_file(salt, header).expect("derives");
        assert_eq!(open(derive(&salt, b"header"), 7, b"block").expect("opens"), b"body");
        assert_eq!(open(derive(&other, b"header"), 7, b"block"), None);
        assert_eq!(open(derive(&salt, b"reader"), 7, b"block"), None);
        assert_eq!(open(derive(&salt, b"header"), 8, b"block"), None);
        assert_eq!(open(derive(&salt, b"header"), 7, b"clock"), None);
    }
}
