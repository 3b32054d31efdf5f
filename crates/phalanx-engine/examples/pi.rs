//! Pi by the midpoint rule, on the engine's own API.
//!
//! ```text
//! cargo build --release -p phalanx-engine --example pi
//! phalanx run -n 4 target/release/examples/pi [INTERVALS]
//! ```

use std::f64::consts::PI;
use std::process::ExitCode;
use std::time::Instant;

use phalanx_engine::op::Builtin;
use phalanx_engine::{Engine, Op, RecvBuf, Result, SendBuf};

/// The integral of 4 / (1 + x^2) over the intervals `first` to `last - 1`.
fn quarter_circle(first: u64, last: u64, intervals: u64) -> f64 {
    let width = 1.0 / intervals as f64;
    let heights = (first..last).map(|i| {
        let x = (i as f64 + 0.5) * width;
        4.0 / (1.0 + x * x)
    });
    heights.sum::<f64>() * width
}

fn run(intervals: u64) -> Result<()> {
    let engine = Engine::from_env()?;
    let world = engine.world();
    let (rank, size) = (world.rank() as u64, world.size() as u64);
    let start = Instant::now();

    let part = [quarter_circle(intervals * rank / size, intervals * (rank + 1) / size, intervals)];
    let mut pi = [0.0];
    let sum = Op::predefined(Builtin::Sum);
    world.reduce(SendBuf::of(&part).into(), Some(RecvBuf::of(&mut pi)), &sum, 0)?;

    if rank == 0 {
        println!("pi is about {:.15}, off by {:.1e}", pi[0], (pi[0] - PI).abs());
        println!("{intervals} intervals on {size} ranks took {:.2} s", start.elapsed().as_secs_f64());
    }
    engine.finalize()
}

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "50000000".into());
    let Some(intervals) = argument.parse().ok().filter(|n| *n > 0) else {
        eprintln!("pi: {argument}: expected a number of intervals, at least 1");
        return ExitCode::from(2);
    };
    match run(intervals) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pi: {error}");
            ExitCode::FAILURE
        }
    }
}
