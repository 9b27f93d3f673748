//! One venue's latest levels, the best ten of all venues, and their protobuf message.

use bytes::{Bytes, BytesMut};
use prost::Message;

pub const LEVELS_MAX: usize = 20;
const DEPTH: usize = 10;

#[derive(Clone, Copy, PartialEq)]
pub struct Level {
    pub price: f64,
    pub amount: f64,
    pub venue: usize,
}

/// Levels of either side, the best first.
#[derive(Default, PartialEq)]
pub struct Book {
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

impl Book {
    pub fn is_empty(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty()
    }
}

/// The better price first, then the larger amount, then the venue that was named first.
fn merge_side<'a>(
    sides: impl Iterator<Item = &'a Vec<Level>>,
    is_better: fn(f64, f64) -> bool,
) -> Vec<Level> {
    let mut heads: Vec<&[Level]> = sides.map(Vec::as_slice).collect();
    let mut merged: Vec<Level> = Vec::with_capacity(DEPTH);
    while merged.len() < DEPTH {
        let mut best: Option<(usize, Level)> = None;
        for (index, head) in heads.iter().enumerate() {
            let Some(&level) = head.first() else { continue };
            let wins = best.is_none_or(|(_, known)| {
                is_better(level.price, known.price)
                    || (level.price == known.price && level.amount > known.amount)
            });
            if wins {
                best = Some((index, level));
            }
        }
        let Some((index, level)) = best else { break };
        heads[index] = &heads[index][1..];
        merged.push(level);
    }
    merged
}

/// The best levels of all venues.
pub fn merge<'a>(books: impl Iterator<Item = &'a Book> + Clone) -> Book {
    Book {
        bids: merge_side(books.clone().map(|book| &book.bids), |a, b| a > b),
        asks: merge_side(books.map(|book| &book.asks), |a, b| a < b),
    }
}

#[derive(Clone, PartialEq, Message)]
struct LevelMessage {
    /// A string: on the wire it is the same, and this one is not copied.
    #[prost(bytes = "bytes", tag = "1")]
    exchange: Bytes,
    #[prost(double, tag = "2")]
    price: f64,
    #[prost(double, tag = "3")]
    amount: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(double, tag = "1")]
    spread: f64,
    #[prost(message, repeated, tag = "2")]
    bids: Vec<LevelMessage>,
    #[prost(message, repeated, tag = "3")]
    asks: Vec<LevelMessage>,
}

/// `orderbook.Summary` of a merged book.
pub fn encode(merged: &Book, names: &[Bytes]) -> Bytes {
    let message = |level: &Level| LevelMessage {
        exchange: names[level.venue].clone(),
        price: level.price,
        amount: level.amount,
    };
    let spread = match (merged.bids.first(), merged.asks.first()) {
        (Some(bid), Some(ask)) => ask.price - bid.price,
        _ => 0.0,
    };
    let bids = merged.bids.iter().map(message).collect();
    let asks = merged.asks.iter().map(message).collect();
    let mut buffer = BytesMut::with_capacity(1024);
    Summary { spread, bids, asks }.encode(&mut buffer).expect("the buffer grows");
    buffer.freeze()
}
