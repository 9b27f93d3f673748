//! The Rust peer that Pollux is measured against, as good as its kind can be.
//!
//!     venues --websocket--> merger thread --watch: latest value--> server thread --gRPC--> clients
//!
//! The merger thread has a CPU of its own, where it polls the venues' sockets without ever
//! sleeping: a snapshot of twenty levels is decoded, merged with the other venue's latest and
//! encoded once. The server thread is a tokio runtime with tonic: each stream takes the latest
//! encoded message when it is woken and can write, so a slow client skips.
//!
//!     yardstick LISTEN MERGER_CPU SERVER_CPU IDLE_US NAME URL SUBSCRIBE [NAME URL SUBSCRIBE]..
//!
//! IDLE_US: 0 spins; else the pause after an empty look at all sockets, where a CPU is shared.
//! SUBSCRIBE: the text that a connection begins with; empty for none. One line on stdout, `ready
//! PORT`, when it listens; a venue that leaves or sends what cannot be read ends the process.

mod book;
mod service;
mod venue;

use std::{env, process, thread, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

use crate::venue::Venue;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Arguments {
    listen: String,
    merger_cpu: usize,
    server_cpu: usize,
    idle: Duration,
    venues: Vec<[String; 3]>,
}

fn arguments() -> Option<Arguments> {
    let words: Vec<String> = env::args().skip(1).collect();
    let (head, rest) = words.split_at_checked(4)?;
    if rest.is_empty() || rest.len() % 3 != 0 {
        return None;
    }
    Some(Arguments {
        listen: head[0].clone(),
        merger_cpu: head[1].parse().ok()?,
        server_cpu: head[2].parse().ok()?,
        idle: Duration::from_micros(head[3].parse().ok()?),
        venues: rest.chunks(3).map(|each| each.to_vec().try_into().unwrap()).collect(),
    })
}

/// Keep the calling thread on one CPU.
fn pin(cpu: usize) {
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Poll every venue in turn; whatever came is merged and published before the next look.
fn merge(mut venues: Vec<Venue>, idle: Duration, latest: watch::Sender<Bytes>) -> Failure {
    let names: Vec<Bytes> = venues.iter().map(|each| each.name.clone()).collect();
    let mut published = book::Book::default();
    loop {
        let mut has_news = false;
        for venue in &mut venues {
            match venue.poll() {
                Ok(is_new) => has_news |= is_new,
                Err(failure) => return format!("{:?}: {failure}", venue.name).into(),
            }
        }
        if !has_news {
            if idle.is_zero() {
                std::hint::spin_loop();
            } else {
                thread::sleep(idle);
            }
            continue;
        }
        if venues.iter().any(|each| each.book.is_empty()) {
            continue; // before both are there, a merged book would be one venue's
        }
        let merged = book::merge(venues.iter().map(|each| &each.book));
        if merged != published {
            latest.send_replace(book::encode(&merged, &names));
            published = merged;
        }
    }
}

fn run(given: Arguments) -> Result<(), Failure> {
    // A harness that is killed leaves no spinning thread behind.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    let (latest, watched) = watch::channel(Bytes::new());
    let venues = given
        .venues
        .iter()
        .enumerate()
        .map(|(index, [name, url, subscribe])| Venue::connect(index, name, url, subscribe))
        .collect::<Result<Vec<_>, _>>()?;
    thread::Builder::new().name("merger".into()).spawn(move || {
        pin(given.merger_cpu);
        eprintln!("yardstick: {}", merge(venues, given.idle, latest));
        process::exit(1);
    })?;
    pin(given.server_cpu);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(service::serve(&given.listen, watched))
}

fn main() {
    let Some(given) = arguments() else {
        eprintln!("usage: yardstick LISTEN MERGER_CPU SERVER_CPU IDLE_US NAME URL SUBSCRIBE ..");
        process::exit(2);
    };
    if let Err(failure) = run(given) {
        eprintln!("yardstick: {failure}");
        process::exit(1);
    }
}
