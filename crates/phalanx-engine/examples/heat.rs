//! A 2-D heat equation with halo exchange, on the engine's own API.
//!
//! ```text
//! cargo build --release -p phalanx-engine --example heat
//! phalanx run -n 4 target/release/examples/heat [POINTS ALONG A SIDE] [STEPS]
//! ```
//!
//! The plate is cut into bands of rows, one per rank. In every step a rank trades its outermost rows with its neighbours
//! and updates its band; the rim of the plate stays cold.

use std::process::ExitCode;
use std::time::Instant;

use phalanx_engine::op::Builtin;
use phalanx_engine::{Comm, Engine, Op, PROC_NULL, RecvBuf, Result, SendBuf};

/// Hot discs on the plate of side 1: centre and radius.
const DISCS: [(f64, f64, f64); 3] = [(0.3, 0.3, 0.15), (0.7, 0.4, 0.1), (0.5, 0.75, 0.12)];

/// This rank's rows of the plate, between two halo rows.
struct Band {
    size: usize,
    rows: usize,
    /// The first row, counted on the whole plate.
    first: usize,
    points: Vec<f64>,
}

impl Band {
    fn new(comm: &Comm, size: usize) -> Band {
        let (rank, ranks) = (comm.rank() as usize, comm.size() as usize);
        let first = size * rank / ranks;
        let rows = size * (rank + 1) / ranks - first;
        let mut band = Band { size, rows, first, points: vec![0.0; (rows + 2) * size] };
        for row in 0..rows {
            for column in 0..size {
                let y = (first + row) as f64 / (size - 1) as f64;
                let x = column as f64 / (size - 1) as f64;
                let hot = DISCS.iter().any(|(cx, cy, r)| (x - cx).powi(2) + (y - cy).powi(2) < r * r);
                band.points[(row + 1) * size + column] = f64::from(u8::from(hot));
            }
        }
        band
    }

    /// Fills the halo rows from the neighbours' outermost rows.
    fn exchange_halos(&mut self, comm: &Comm) -> Result<()> {
        let (rank, ranks, size) = (comm.rank(), comm.size(), self.size);
        let up = if rank > 0 { rank - 1 } else { PROC_NULL };
        let down = if rank + 1 < ranks { rank + 1 } else { PROC_NULL };
        let (inner, bottom) = self.points.split_at_mut((self.rows + 1) * size);
        let (top, inner) = inner.split_at_mut(size);
        let (first, last) = (&inner[..size], &inner[inner.len() - size..]);
        comm.sendrecv(SendBuf::of(first), up, 0, RecvBuf::of(bottom), down, 0)?;
        comm.sendrecv(SendBuf::of(last), down, 1, RecvBuf::of(top), up, 1)?;
        Ok(())
    }

    /// One explicit step of the five-point scheme, at its stability limit.
    fn step(&self, fresh: &mut [f64]) {
        let size = self.size;
        for row in 1..=self.rows {
            let here = self.first + row - 1;
            let range = row * size..(row + 1) * size;
            if here == 0 || here + 1 == size {
                fresh[range.clone()].copy_from_slice(&self.points[range]);
                continue;
            }
            let (above, middle, below) = (
                &self.points[range.start - size..range.start],
                &self.points[range.clone()],
                &self.points[range.end..range.end + size],
            );
            let target = &mut fresh[range];
            for column in 1..size - 1 {
                let around = above[column] + below[column] + middle[column - 1] + middle[column + 1];
                target[column] = middle[column] + 0.25 * (around - 4.0 * middle[column]);
            }
        }
    }
}

fn run(size: usize, steps: usize) -> Result<()> {
    let engine = Engine::from_env()?;
    let world = engine.world();
    let mut band = Band::new(&world, size);
    let mut fresh = band.points.clone();

    world.barrier()?;
    let start = Instant::now();
    for _ in 0..steps {
        band.exchange_halos(&world)?;
        band.step(&mut fresh);
        std::mem::swap(&mut band.points, &mut fresh);
    }
    world.barrier()?;
    let elapsed = start.elapsed().as_secs_f64();

    let own = &band.points[size..(band.rows + 1) * size];
    let (heat, hottest) = ([own.iter().sum::<f64>()], [own.iter().copied().fold(0.0, f64::max)]);
    let (mut total, mut maximum) = ([0.0], [0.0]);
    world.reduce(SendBuf::of(&heat).into(), Some(RecvBuf::of(&mut total)), &Op::predefined(Builtin::Sum), 0)?;
    world.reduce(SendBuf::of(&hottest).into(), Some(RecvBuf::of(&mut maximum)), &Op::predefined(Builtin::Max), 0)?;
    if world.rank() == 0 {
        let mean = total[0] / (size * size) as f64;
        println!("{size} x {size} points, {steps} steps, {} ranks", world.size());
        println!("mean temperature {mean:.9}, hottest {:.6}", maximum[0]);
        println!("took {elapsed:.2} s");
    }
    engine.finalize()
}

fn main() -> ExitCode {
    let number = |place: usize, default: usize| match std::env::args().nth(place) {
        Some(text) => text.parse().map_err(|_| format!("{text}: expected a number")),
        None => Ok(default),
    };
    let arguments = number(1, 512).and_then(|size| number(2, 2000).map(|steps| (size, steps)));
    let outcome = match arguments {
        Ok((size, _)) if size < 3 => Err(format!("a plate of {size} x {size} points has no inside")),
        Ok((size, steps)) => run(size, steps).map_err(|error| error.to_string()),
        Err(text) => Err(text),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("heat: {text}");
            ExitCode::FAILURE
        }
    }
}
