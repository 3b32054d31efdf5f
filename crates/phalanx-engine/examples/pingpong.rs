//! Ping-pong between two processes: half the round trip and the bandwidth for a range of sizes.
//!
//! Under `phalanx run -n 2` (or another PMI-1 launcher) it uses the first two ranks; started by hand, it starts the second one itself:
//!
//! ```text
//! cargo run --release -p phalanx-engine --example pingpong
//! ```

use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Instant;

use phalanx_engine::boot::BootConfig;
use phalanx_engine::{Engine, RecvBuf, Result, SendBuf};
use phalanx_shm::{Universe, UniverseConfig};

/// The variable by which the first process tells the second where the universe is.
const MEET: &str = "PINGPONG_UNIVERSE";

fn main() {
    if let Err(error) = start() {
        eprintln!("pingpong: {error}");
        std::process::exit(1);
    }
}

fn start() -> Result<()> {
    if ["PHALANX_WORLD", "PMI_FD"].iter().any(|name| std::env::var_os(name).is_some()) {
        return play(&Engine::from_env()?);
    }
    if let Ok(path) = std::env::var(MEET) {
        let file = std::fs::File::options().read(true).write(true).open(path).expect("the first process's universe");
        let universe = Universe::attach(file.into()).expect("a universe");
        return play(&Engine::init(BootConfig::first_world(&universe, 2, 1))?);
    }
    let universe = Universe::create(UniverseConfig::for_ranks(2)).expect("a universe");
    universe.claim_slots(2).expect("two slots");
    let path = format!("/proc/{}/fd/{}", std::process::id(), universe.fd().as_raw_fd());
    let program = std::env::current_exe().expect("this program's path");
    let mut second = Command::new(program).env(MEET, path).spawn().expect("a second process");
    let played = Engine::init(BootConfig::first_world(&universe, 2, 0)).and_then(|engine| play(&engine));
    second.wait().expect("the second process ends");
    played
}

fn play(engine: &Engine) -> Result<()> {
    let comm = engine.world();
    if comm.rank() == 0 {
        println!("{:>10} {:>12} {:>12}", "bytes", "us one way", "MB/s");
    }
    for bytes in [
        0usize,
        8,
        64,
        256,
        1 << 10,
        4 << 10,
        8 << 10,
        16 << 10,
        32 << 10,
        64 << 10,
        256 << 10,
        1 << 20,
        4 << 20,
        64 << 20,
    ] {
        let rounds = (200_000_000 / (bytes + 1000)).clamp(10, 100_000);
        let out = vec![1u8; bytes];
        let mut into = vec![0u8; bytes];
        let mut begin = Instant::now();
        for round in 0..rounds + rounds / 10 {
            if round == rounds / 10 {
                begin = Instant::now();
            }
            if comm.rank() == 0 {
                comm.send(SendBuf::of(&out), 1, 0)?;
                comm.recv(RecvBuf::of(&mut into), 1, 0)?;
            } else if comm.rank() == 1 {
                comm.recv(RecvBuf::of(&mut into), 0, 0)?;
                comm.send(SendBuf::of(&out), 0, 0)?;
            }
        }
        let one_way = begin.elapsed().as_secs_f64() * 1e6 / (2 * rounds) as f64;
        assert!(comm.rank() > 1 || out == into, "the data arrives as it was sent");
        if comm.rank() == 0 {
            println!("{bytes:>10} {one_way:>12.3} {:>12.0}", bytes as f64 / one_way);
        }
    }
    engine.finalize()
}
