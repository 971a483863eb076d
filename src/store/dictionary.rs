//! Calls compressed one by one, so that each can be read and replaced alone, by a dictionary that knows what calls of this database
//! have in common. It is trained from the first of them, and again when they have become other than they were.
//!
//! A packed call is a version, the number of its dictionary (0: none), and a zstd frame without the four bytes with which all
//! frames begin. Dictionaries never change and are kept as long as the database.

use super::error::inconsistent;
use super::statement::{Tx, stmt};
use super::{Store, StoreError, packed};
use crate::model::Call;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::CParameter;

/// First byte of every packed call. Raise it when the format here or the meaning of a row changes.
const VERSION: u8 = 4;
/// A third dearer than 1 and a little smaller; beyond, each percent costs as much as all of it.
const LEVEL: i32 = 3;
/// What every zstd frame begins with (RFC 8878, 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Calls to train from, and how many of the first ones they are taken from: what comes together is alike.
const SAMPLES: usize = 4_000;
const SAMPLED_FROM: usize = 16_000;
const DICTIONARY_BYTES: usize = 64 << 10;
/// Calls after which is looked at how well they are compressed.
const WATCHED: u64 = 50_000;
/// No call is larger.
const MOST_BYTES: usize = 256 << 20;

pub(super) struct Dictionary {
    pub id: u8,
    encoder: EncoderDictionary<'static>,
    decoder: DecoderDictionary<'static>,
}

impl Dictionary {
    fn new(id: u8, bytes: &[u8]) -> Result<Dictionary, StoreError> {
        let wrong = |error| inconsistent("dictionary", error);
        Ok(Dictionary {
            id,
            encoder: EncoderDictionary::try_copy(bytes, LEVEL).map_err(wrong)?,
            decoder: DecoderDictionary::try_copy(bytes).map_err(wrong)?,
        })
    }
}

/// How calls are compressed now, and whether they should be otherwise.
#[derive(Default)]
pub(super) struct Packing {
    /// What is stored has been looked at.
    opened: bool,
    current: Option<Arc<Dictionary>>,
    /// The current one no longer fits.
    outworn: bool,
    samples: Vec<Vec<u8>>,
    calls: u64,
    raw_bytes: u64,
    packed_bytes: u64,
    /// Percent of the raw bytes, of the first calls with this dictionary.
    usual: Option<u64>,
}

impl Packing {
    /// Counts calls in; what to train from, when it is time to.
    fn count(&mut self, raw: &[Vec<u8>], packed_bytes: u64) -> Option<Vec<Vec<u8>>> {
        self.calls += raw.len() as u64;
        self.raw_bytes += raw.iter().map(|call| call.len() as u64).sum::<u64>();
        self.packed_bytes += packed_bytes;
        if self.calls >= WATCHED {
            let percent = self.packed_bytes * 100 / self.raw_bytes.max(1);
            let usual = *self.usual.get_or_insert(percent);
            self.outworn |= percent > usual + usual / 2;
            (self.calls, self.raw_bytes, self.packed_bytes) = (0, 0, 0);
        }
        if self.current.is_some() && !self.outworn {
            return None;
        }
        let missing = SAMPLES - self.samples.len().min(SAMPLES);
        self.samples.extend(raw.iter().step_by(SAMPLED_FROM / SAMPLES).take(missing).cloned());
        (self.samples.len() >= SAMPLES).then(|| std::mem::take(&mut self.samples))
    }

    fn use_now(&mut self, dictionary: Option<Arc<Dictionary>>) {
        *self = Packing { opened: true, current: dictionary, ..Packing::default() };
    }
}

impl Store {
    /// The calls as bytes.
    pub(super) async fn pack(&self, calls: impl Iterator<Item = &Call>) -> Result<Vec<Vec<u8>>, StoreError> {
        let calls: Vec<&Call> = calls.collect();
        let raw: Vec<Vec<u8>> = calls.into_par_iter().map(packed::pack).collect::<Result<_, _>>()?;
        let dictionary = self.current_dictionary().await?;
        let all = compress(&raw, dictionary.as_deref())?;
        let bytes = all.iter().map(|call| call.len() as u64).sum();
        let samples = self.remembered.packing().count(&raw, bytes);
        match samples {
            Some(samples) => match self.train(samples).await? {
                Some(dictionary) => compress(&raw, Some(&dictionary)),
                None => Ok(all),
            },
            None => Ok(all),
        }
    }

    /// The one in use; after opening the newest that is stored.
    async fn current_dictionary(&self) -> Result<Option<Arc<Dictionary>>, StoreError> {
        {
            let packing = self.remembered.packing();
            if packing.opened {
                return Ok(packing.current.clone());
            }
        }
        let newest = stmt("select id, bytes from dictionary order by id desc limit 1");
        let dictionary = match self.row::<(i64, Vec<u8>)>(newest).await? {
            Some((id, bytes)) => Some(Arc::new(Dictionary::new(id as u8, &bytes)?)),
            None => None,
        };
        self.remembered.packing().use_now(dictionary.clone());
        Ok(dictionary)
    }

    /// Makes a dictionary and stores it, before anything is packed by it. `None` where nothing can be made of the samples.
    async fn train(&self, samples: Vec<Vec<u8>>) -> Result<Option<Arc<Dictionary>>, StoreError> {
        let trained =
            tokio::task::spawn_blocking(move || zstd::dict::from_samples(&samples, DICTIONARY_BYTES));
        let Ok(Ok(bytes)) = trained.await else { return Ok(None) };
        let mut tx = self.begin_derived().await?;
        let last: Vec<(i64,)> = tx.rows(stmt("select coalesce(max(id), 0) from dictionary")).await?;
        let Ok(id) = u8::try_from(last.first().map_or(0, |(id,)| *id) + 1) else { return Ok(None) };
        let dictionary = Arc::new(Dictionary::new(id, &bytes)?);
        tx.execute(stmt("insert into dictionary (id, bytes) values (?, ?)").int(id.into()).bytes(bytes))
            .await?;
        tx.commit().await?;
        self.remembered.packing().use_now(Some(dictionary.clone()));
        Ok(Some(dictionary))
    }

    /// Packed calls, in their order.
    pub(super) async fn unpack(&self, tx: &mut Tx, packed: &[Vec<u8>]) -> Result<Vec<Call>, StoreError> {
        let mut dictionaries: BTreeMap<u8, Option<Arc<Dictionary>>> = BTreeMap::from([(0, None)]);
        for id in packed.iter().filter_map(|bytes| bytes.get(1)) {
            if !dictionaries.contains_key(id) {
                dictionaries.insert(*id, Some(self.dictionary(tx, *id).await?));
            }
        }
        let mut unpackers = BTreeMap::new();
        for (id, dictionary) in &dictionaries {
            let unpacker = match dictionary {
                Some(dictionary) => Decompressor::with_prepared_dictionary(&dictionary.decoder),
                None => Decompressor::new(),
            };
            unpackers.insert(*id, unpacker.map_err(|error| inconsistent("dictionary", error))?);
        }
        packed.iter().map(|bytes| unpack(bytes, &mut unpackers)).collect()
    }

    async fn dictionary(&self, tx: &mut Tx, id: u8) -> Result<Arc<Dictionary>, StoreError> {
        if let Some(dictionary) = self.remembered.dictionary(id) {
            return Ok(dictionary);
        }
        let select = stmt("select bytes from dictionary where id = ?").int(id.into());
        let rows: Vec<(Vec<u8>,)> = tx.rows(select).await?;
        let (bytes,) = rows.first().ok_or_else(|| inconsistent("dictionary", format!("{id} is missing")))?;
        let dictionary = Arc::new(Dictionary::new(id, bytes)?);
        self.remembered.remember_dictionary(dictionary.clone());
        Ok(dictionary)
    }
}

/// Calls that one thread compresses in a row: each needs a compressor of its own.
const SHARE: usize = 256;

fn compress(raw: &[Vec<u8>], dictionary: Option<&Dictionary>) -> Result<Vec<Vec<u8>>, StoreError> {
    let shares = raw.par_chunks(SHARE).map(|share| compress_share(share, dictionary));
    Ok(shares.collect::<Result<Vec<_>, _>>()?.concat())
}

fn compress_share(raw: &[Vec<u8>], dictionary: Option<&Dictionary>) -> Result<Vec<Vec<u8>>, StoreError> {
    let failed = |error: std::io::Error| StoreError::Other(format!("compressing calls: {error}"));
    let compressor = match dictionary {
        Some(dictionary) => Compressor::with_prepared_dictionary(&dictionary.encoder),
        None => Compressor::new(LEVEL),
    };
    let mut compressor = compressor.map_err(failed)?;
    // We say ourselves which it is.
    compressor.set_parameter(CParameter::DictIdFlag(false)).map_err(failed)?;
    let id = dictionary.map_or(0, |dictionary| dictionary.id);
    let mut frame = Vec::new();
    let mut one = |call: &Vec<u8>| {
        frame.clear();
        frame.reserve(zstd::zstd_safe::compress_bound(call.len()));
        compressor.compress_to_buffer(call, &mut frame).map_err(failed)?;
        let mut bytes = Vec::with_capacity(frame.len());
        bytes.extend([VERSION, id]);
        bytes.extend(&frame[MAGIC.len()..]);
        Ok(bytes)
    };
    raw.iter().map(&mut one).collect()
}

fn unpack(bytes: &[u8], unpackers: &mut BTreeMap<u8, Decompressor<'_>>) -> Result<Call, StoreError> {
    let wrong = |error| inconsistent("call", error);
    let (id, frame) = match bytes {
        [VERSION, id, frame @ ..] => (id, [&MAGIC, frame].concat()),
        [version, ..] => {
            return Err(inconsistent(
                "call",
                format!(
                    "it was packed by another version ({version}): derive it again with `calltrail rebuild`"
                ),
            ));
        }
        [] => return Err(inconsistent("call", "it is empty")),
    };
    let size = zstd::zstd_safe::get_frame_content_size(&frame).ok().flatten().unwrap_or(0);
    let size = usize::try_from(size).unwrap_or(MOST_BYTES).min(MOST_BYTES);
    let unpacker = unpackers.get_mut(id).ok_or_else(|| inconsistent("call", "its dictionary is missing"))?;
    packed::unpack(&unpacker.decompress(&frame, size).map_err(wrong)?)
}
