//! One venue's connection, read without waiting, and the latest snapshot that came on it.

use std::io::ErrorKind;
use std::net::TcpStream;

use bytes::Bytes;
use serde::Deserialize;
use simd_json::Buffers;
use tokio_tungstenite::tungstenite::{self, http::Uri, Error, Message, Utf8Bytes, WebSocket};

use crate::book::{Book, Level, LEVELS_MAX};
use crate::Failure;

type Pairs<'a> = Vec<(&'a str, &'a str)>;

#[derive(Deserialize, Default)]
struct Sides<'a> {
    #[serde(borrow, default)]
    bids: Pairs<'a>,
    #[serde(borrow, default)]
    asks: Pairs<'a>,
}

/// Any venue's frame: its sides stand at the top or below `data`; what else comes has none.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, default)]
    bids: Pairs<'a>,
    #[serde(borrow, default)]
    asks: Pairs<'a>,
    #[serde(borrow)]
    data: Option<Sides<'a>>,
}

pub struct Venue {
    pub name: Bytes,
    pub book: Book,
    index: usize,
    link: WebSocket<TcpStream>,
    text: Vec<u8>,
    buffers: Buffers,
}

impl Venue {
    /// Connect, subscribe, and never wait again.
    pub fn connect(index: usize, name: &str, url: &str, subscribe: &str) -> Result<Self, Failure> {
        let uri: Uri = url.parse()?;
        let address = (uri.host().ok_or("no host")?, uri.port_u16().unwrap_or(80));
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let (mut link, _) = tungstenite::client(uri, stream).map_err(|e| e.to_string())?;
        if !subscribe.is_empty() {
            link.send(Message::text(subscribe))?;
        }
        link.get_ref().set_nonblocking(true)?;
        Ok(Venue {
            book: Book::default(),
            index,
            name: Bytes::copy_from_slice(name.as_bytes()),
            link,
            text: Vec::with_capacity(1 << 16),
            buffers: Buffers::new(1 << 16),
        })
    }

    /// Take in one message, if there is one; whether the book is new.
    #[inline]
    pub fn poll(&mut self) -> Result<bool, Failure> {
        match self.link.read() {
            Ok(Message::Text(text)) => self.take_in(text),
            Ok(Message::Close(_)) => Err("closed".into()),
            Ok(_) => Ok(false), // a ping is answered by the library
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn take_in(&mut self, text: Utf8Bytes) -> Result<bool, Failure> {
        self.text.clear();
        self.text.extend_from_slice(text.as_bytes());
        let frame: Frame =
            simd_json::serde::from_slice_with_buffers(&mut self.text, &mut self.buffers)?;
        let (bids, asks) = match frame.data {
            Some(below) => (below.bids, below.asks),
            None => (frame.bids, frame.asks),
        };
        if bids.is_empty() && asks.is_empty() {
            return Ok(false);
        }
        fill(&mut self.book.bids, &bids, self.index)?;
        fill(&mut self.book.asks, &asks, self.index)?;
        Ok(true)
    }
}

fn fill(side: &mut Vec<Level>, pairs: &Pairs, venue: usize) -> Result<(), Failure> {
    side.clear();
    for (price, amount) in pairs.iter().take(LEVELS_MAX) {
        side.push(Level { price: price.parse()?, amount: amount.parse()?, venue });
    }
    Ok(())
}
