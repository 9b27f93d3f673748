//! `orderbook.OrderbookAggregator/BookSummary` by tonic: each stream has the latest message.

use std::convert::Infallible;
use std::future::{ready, Ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{stream, Stream};
use tokio::{net::TcpListener, sync::watch};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, ServerStreamingService};
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status};

use crate::Failure;

const METHOD: &str = "/orderbook.OrderbookAggregator/BookSummary";

/// Messages are encoded already, and a request says nothing.
#[derive(Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Encoded
    }

    fn decoder(&mut self) -> Self {
        Encoded
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        input.advance(input.remaining());
        Ok(Some(()))
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

#[derive(Clone)]
struct Aggregator {
    latest: watch::Receiver<Bytes>,
}

impl ServerStreamingService<()> for Aggregator {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Ready<Result<Response<Messages>, Status>>;

    /// The current message at once, then the latest whenever there is a newer one.
    fn call(&mut self, _request: Request<()>) -> Self::Future {
        let mut latest = self.latest.clone();
        latest.mark_changed();
        let messages = stream::unfold(latest, |mut latest| async {
            loop {
                latest.changed().await.ok()?;
                let message = latest.borrow_and_update().clone();
                if !message.is_empty() {
                    return Some((Ok(message), latest));
                }
            }
        });
        ready(Ok(Response::new(Box::pin(messages))))
    }
}

impl Service<http::Request<Body>> for Aggregator {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            if request.uri().path() != METHOD {
                return Ok(Status::unimplemented("only BookSummary is served").into_http());
            }
            Ok(Grpc::new(Encoded).server_streaming(this, request).await)
        })
    }
}

pub async fn serve(listen: &str, latest: watch::Receiver<Bytes>) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen).await?;
    println!("ready {}", listener.local_addr()?.port());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().serve_with_incoming(Aggregator { latest }, incoming).await?;
    Ok(())
}
