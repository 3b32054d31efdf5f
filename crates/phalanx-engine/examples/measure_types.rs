//! Measures packing and reductions on this machine, within one process.
//!
//! ```text
//! cargo run --release -p phalanx-engine --example measure_types
//! ```
//!
//! Each figure is the best of several repetitions. Packing is compared with `memcpy` of as many bytes; a reduction's rate counts
//! the bytes of one operand. Results are checked once before they are timed.
#![expect(unsafe_code, reason = "it hands its own buffers to interfaces of raw memory")]

use std::hint::black_box;
use std::time::Instant;

use phalanx_engine::datatype::{Basic, Datatype};
use phalanx_engine::op::{Builtin, Op};
use phalanx_engine::{Error, Result};
use phalanx_shm::{ConstMem, MutMem};

fn main() -> Result<()> {
    packing()?;
    reductions()
}

/// Seconds of one call, the best of several series.
fn seconds(bytes: usize, mut call: impl FnMut()) -> f64 {
    let calls = (1 << 23) / bytes.max(64) + 1;
    let series = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_secs_f64() / calls as f64
    };
    (0..15).map(series).fold(f64::INFINITY, f64::min)
}

/// The types to pack, and how many elements of each.
fn layouts() -> Result<Vec<(&'static str, Datatype, usize)>> {
    let (double, int) = (Datatype::predefined(Basic::Double), Datatype::predefined(Basic::Int));
    let irregular: Vec<i64> = (0..10_000).map(|i| i * 3 + i * i % 2).collect();
    let fields = [double.clone(), int.clone(), double.clone()];
    Ok(vec![
        ("contiguous", Datatype::contiguous(100_000, double)?, 1),
        ("every 2nd double", Datatype::vector(100_000, 1, 2, double)?, 1),
        ("every 2nd int", Datatype::vector(100_000, 1, 2, int)?, 1),
        ("column of 100", Datatype::vector(1000, 1, 100, double)?, 1),
        ("16 of 32 doubles", Datatype::vector(10_000, 16, 32, double)?, 1),
        ("10,000 indices", Datatype::indexed_block(1, &irregular, double)?, 1),
        ("struct with a gap", Datatype::structure(&[1, 1, 1], &[0, 8, 16], &fields)?, 10_000),
        ("MPI_DOUBLE_INT", Datatype::predefined(Basic::DoubleInt).clone(), 10_000),
    ])
}

fn packing() -> Result<()> {
    println!("packing                GB/s: pack  unpack  memcpy");
    for (name, ty, count) in layouts()? {
        ty.commit();
        let (low, high) = ty.span(count)?;
        let memory: Vec<u8> = (low..high).map(|i| ((i * 31) >> 3) as u8).collect();
        let mut target = memory.clone();
        let mut packed = vec![0; ty.bytes(count)?];
        // SAFETY: the type reaches `low..high` from the base, which are the bytes of `memory`, alive and not written below.
        let source = unsafe { ConstMem::base(memory.as_ptr().wrapping_offset(-low)) };
        // SAFETY: likewise for `target`, which is only used through this until it is compared.
        let mut sink = unsafe { MutMem::base(target.as_mut_ptr().wrapping_offset(-low)) };
        ty.pack(count, &source, 0, &mut packed);
        ty.unpack(count, &mut sink, 0, &packed);
        assert_eq!(memory, target, "{name}");

        let bytes = packed.len();
        let rate = |seconds: f64| bytes as f64 / seconds / 1e9;
        let pack = rate(seconds(bytes, || {
            black_box(ty.pack(count, &source, 0, black_box(&mut packed)));
        }));
        let unpack = rate(seconds(bytes, || {
            black_box(ty.unpack(count, &mut sink, 0, black_box(&packed)));
        }));
        let copy = rate(seconds(bytes, || {
            black_box(&mut packed).copy_from_slice(black_box(&memory[..bytes]));
        }));
        println!("{name:20} {pack:10.1} {unpack:7.1} {copy:7.1}");
    }
    Ok(())
}

fn reductions() -> Result<()> {
    println!("\nreductions             GB/s of one operand: 64 B   16 KiB   8 MiB");
    let table = [
        (Builtin::Sum, Basic::Double),
        (Builtin::Max, Basic::Double),
        (Builtin::Sum, Basic::Float),
        (Builtin::Sum, Basic::Int),
        (Builtin::Land, Basic::CBool),
        (Builtin::Prod, Basic::CDoubleComplex),
        (Builtin::Maxloc, Basic::DoubleInt),
        (Builtin::Sum, Basic::LongDouble),
        (Builtin::Sum, Basic::Real2),
    ];
    let sizes = [64, 16 << 10, 8 << 20];
    let input = vec![0u8; sizes[2]];
    let mut inout = vec![0u8; sizes[2]];
    for (builtin, basic) in table {
        let (op, ty) = (Op::predefined(builtin), Datatype::predefined(basic));
        let mut row = format!("{:12} {:24}", builtin.name(), basic.name());
        for bytes in sizes {
            // SAFETY: both vectors live to the end of the function and are only used through these.
            let (a, b) = unsafe { (ConstMem::new(input.as_ptr(), bytes), MutMem::new(inout.as_mut_ptr(), bytes)) };
            let count = bytes / basic.extent();
            let mut outcome: std::result::Result<(), Error> = Ok(());
            let time = seconds(bytes, || outcome = op.reduce(ty, black_box(a), b, count));
            outcome?;
            row += &format!(" {:8.2}", bytes as f64 / time / 1e9);
        }
        println!("{row}");
    }
    Ok(())
}
