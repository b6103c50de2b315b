//! The pages of an encrypted file, one by one, without the database's own machinery: that gives up
//! at the first page that is damaged. A page is whole where its own checksum says so; nothing here
//! knows what a page means. It writes nothing.
//!
//! How a page lies on the disk (SQLCipher 4 with a raw key, `https://www.zetetic.net/sqlcipher/design/`
//! and its source `crypto_impl`): the content encrypted by AES-256-CBC, then 16 bytes of
//! initialisation vector, then 64 bytes of HMAC-SHA512 over the encrypted content, the vector and the
//! page's number (little endian). The first 16 bytes of page 1 are the salt, in clear. The key of the
//! HMAC is PBKDF2-HMAC-SHA512 of the key, two rounds, with every byte of the salt XOR 0x3a.
//! Write-ahead log: `https://sqlite.org/fileformat2.html#walformat`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aes::cipher::block_padding::NoPadding;
use aes::cipher::{BlockDecryptMut, KeyIvInit};
use hmac::{Hmac, Mac};
use sha2::Sha512;

use crate::buffer::Key;

/// Bytes of a page on the disk.
pub(super) const PAGE_BYTES: usize = 4096;
/// Bytes of vector and checksum at a page's end.
pub(super) const RESERVED_BYTES: usize = 80;
/// The page of the bytes that SQLite locks, one GiB into the file: it is never written
/// (`https://sqlite.org/fileformat2.html#the_lock_byte_page`).
pub(super) const LOCK_PAGE: u32 = 262_145;
const SALT_BYTES: usize = 16;
const VECTOR_BYTES: usize = 16;
const LOG_HEAD_BYTES: u64 = 32;
const FRAME_HEAD_BYTES: u64 = 24;

type Decryptor = cbc::Decryptor<aes::Aes256>;

/// What could be read of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The page as it was written last.
    Whole(Vec<u8>),
    /// An older state of it: the newest one is damaged.
    Older(Vec<u8>),
    /// Nothing that verifies.
    Unreadable,
}

/// An encrypted file with its write-ahead log.
pub(super) struct Pages {
    database: File,
    log: Option<File>,
    count: u32,
    /// Per page the places of its committed states in the log, the oldest first.
    frames: BTreeMap<u32, Vec<u64>>,
    lock: Lock,
}

impl Pages {
    /// Opens a file and its log. Nothing where no page verifies by this key.
    pub(super) fn open(path: &Path, log: &Path, key: &Key) -> io::Result<Option<Self>> {
        let database = File::open(path)?;
        let log = match File::open(log) {
            Ok(log) => Some(log),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let count = u32::try_from(database.metadata()?.len().div_ceil(PAGE_BYTES as u64));
        let count = count.unwrap_or(u32::MAX);
        let frames = log.as_ref().map_or_else(|| Ok(BTreeMap::new()), committed)?;
        let mut pages =
            Self { database, log, count, frames, lock: Lock::new(key, [0; SALT_BYTES]) };
        if !pages.find_salt(key) {
            return Ok(None);
        }
        pages.rename_frames();
        // Of what lies beyond the file's end only the log knows; a flipped number does not verify.
        let beyond = pages.frames.range(count.saturating_add(1)..).map(|(&number, _)| number);
        let is_there = |number: &u32| pages.read(*number) != Found::Unreadable;
        pages.count = beyond.filter(is_there).max().unwrap_or(count);
        Ok(Some(pages))
    }

    /// Returns how many pages there should be.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Reads a page. One that the disk does not give back is unreadable.
    pub(super) fn read(&self, number: u32) -> Found {
        let frames = self.frames.get(&number).map_or(&[][..], Vec::as_slice);
        let mut is_newest = true;
        // What lies later in the log was written later.
        for &place in frames.iter().rev() {
            if let Some(page) = self.log.as_ref().and_then(|log| self.verified(log, place, number))
            {
                return if is_newest { Found::Whole(page) } else { Found::Older(page) };
            }
            is_newest = false;
        }
        let place = u64::from(number - 1) * PAGE_BYTES as u64;
        match self.verified(&self.database, place, number) {
            Some(page) if is_newest => Found::Whole(page),
            Some(page) => Found::Older(page),
            None => Found::Unreadable,
        }
    }

    /// Gives frames back their page where one bit of its number was flipped: under the page that they
    /// say they are of they do not verify.
    fn rename_frames(&mut self) {
        let Some(log) = &self.log else { return };
        let mut renamed: Vec<(u32, u32, u64)> = Vec::new();
        for (&number, places) in &self.frames {
            for &place in places {
                if self.verified(log, place, number).is_some() {
                    continue;
                }
                let others = (0..32).map(|bit| number ^ (1 << bit)).filter(|&other| other > 0);
                let own = others.into_iter().find(|&own| self.verified(log, place, own).is_some());
                renamed.extend(own.map(|own| (number, own, place)));
            }
        }
        for (number, own, place) in renamed {
            self.frames.entry(number).or_default().retain(|&other| other != place);
            let places = self.frames.entry(own).or_default();
            places.push(place);
            places.sort_unstable();
        }
    }

    fn verified(&self, file: &File, place: u64, number: u32) -> Option<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES];
        file.read_exact_at(&mut page, place).ok()?;
        self.lock.opened(page, number)
    }

    /// Finds the salt by which pages verify: as it stands in the file, as the log has it, or as it
    /// was before one bit of it was flipped.
    fn find_salt(&mut self, key: &Key) -> bool {
        let mut salt = [0; SALT_BYTES];
        let from_file = self.database.read_exact_at(&mut salt, 0).is_ok();
        let mut salts: Vec<[u8; SALT_BYTES]> = from_file.then_some(salt).into_iter().collect();
        for &place in self.frames.get(&1).into_iter().flatten() {
            let mut other = [0; SALT_BYTES];
            let read =
                self.log.as_ref().is_some_and(|log| log.read_exact_at(&mut other, place).is_ok());
            if read && !salts.contains(&other) {
                salts.push(other);
            }
        }
        for bit in 0..SALT_BYTES * 8 {
            let mut other = salt;
            other[bit / 8] ^= 1 << (bit % 8);
            salts.push(other);
        }
        // A page of each part of the file: one flipped bit does not hide the salt.
        let probes: Vec<u32> = (0..8).map(|part| 1 + part * (self.count / 8)).collect();
        salts.into_iter().any(|salt| {
            self.lock = Lock::new(key, salt);
            probes.iter().any(|&number| self.read(number) != Found::Unreadable)
        })
    }
}

/// Returns per page where a log holds it, up to its last commit. Frames of an earlier use of the
/// file have other salts; those after the last commit never counted.
fn committed(log: &File) -> io::Result<BTreeMap<u32, Vec<u64>>> {
    let bytes = log.metadata()?.len();
    let (mut found, mut waiting) = (BTreeMap::new(), Vec::new());
    let mut head = [0; 16];
    let mut use_salts: Option<[u8; 8]> = None;
    let mut place = LOG_HEAD_BYTES;
    while place + FRAME_HEAD_BYTES + PAGE_BYTES as u64 <= bytes {
        let page_place = place + FRAME_HEAD_BYTES;
        // A head that the disk does not give back is one frame less.
        let is_read = log.read_exact_at(&mut head, place).is_ok();
        place = page_place + PAGE_BYTES as u64;
        if !is_read {
            continue;
        }
        let [n0, n1, n2, n3, c0, c1, c2, c3, salts @ ..] = head;
        let (number, pages) = (u32::from_be_bytes([n0, n1, n2, n3]), [c0, c1, c2, c3]);
        let own = *use_salts.get_or_insert_with(|| salts_of(log).unwrap_or(salts));
        if differing_bits(salts, own) > 1 || number == 0 {
            continue;
        }
        waiting.push((number, page_place));
        if pages != [0; 4] {
            for (number, place) in waiting.drain(..) {
                found.entry(number).or_insert_with(Vec::new).push(place);
            }
        }
    }
    Ok(found)
}

/// Returns the salts of a log's head.
fn salts_of(log: &File) -> Option<[u8; 8]> {
    let mut salts = [0; 8];
    log.read_exact_at(&mut salts, 16).ok().map(|()| salts)
}

/// Counts bits: each use of a log counts its salt up and draws the other half anew.
fn differing_bits(one: [u8; 8], other: [u8; 8]) -> u32 {
    (u64::from_be_bytes(one) ^ u64::from_be_bytes(other)).count_ones()
}

/// What opens pages: the key and what it becomes with a salt.
struct Lock {
    key: [u8; 32],
    checksum: Hmac<Sha512>,
}

impl Lock {
    fn new(key: &Key, salt: [u8; SALT_BYTES]) -> Self {
        let key = key.bytes();
        let salt = salt.map(|byte| byte ^ 0x3a);
        let first = sealed(&mac(&key), &[&salt, &1_u32.to_be_bytes()]);
        let second = sealed(&mac(&key), &[&first]);
        let derived: Vec<u8> =
            first.iter().zip(&second).take(32).map(|(one, two)| one ^ two).collect();
        Self { key, checksum: mac(&derived) }
    }

    /// Returns a page's content where its checksum is right.
    fn opened(&self, mut page: Vec<u8>, number: u32) -> Option<Vec<u8>> {
        let start = if number == 1 { SALT_BYTES } else { 0 };
        let end = PAGE_BYTES - RESERVED_BYTES;
        let mut checksum = self.checksum.clone();
        checksum.update(&page[start..end + VECTOR_BYTES]);
        checksum.update(&number.to_le_bytes());
        checksum.verify_slice(&page[end + VECTOR_BYTES..]).ok()?;
        let vector: [u8; VECTOR_BYTES] = page[end..end + VECTOR_BYTES].try_into().ok()?;
        let opener = Decryptor::new(&self.key.into(), &vector.into());
        opener.decrypt_padded_mut::<NoPadding>(&mut page[start..end]).ok()?;
        Some(page)
    }
}

fn mac(key: &[u8]) -> Hmac<Sha512> {
    Hmac::new_from_slice(key).expect("an HMAC takes any key")
}

fn sealed(mac: &Hmac<Sha512>, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = mac.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}
