//! Messages that do not lie in one piece, and messages whose sender does not come by.
#![expect(unsafe_code, reason = "raw buffers of derived types have unsafe constructors")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use phalanx_engine::datatype::{Basic, Datatype};
use phalanx_engine::{RecvBuf, SendBuf, testing};
use phalanx_shm::mem::{ConstMem, MutMem};

fn double() -> &'static Datatype {
    Datatype::predefined(Basic::Double)
}

/// A column-like type: `count` blocks of `block` doubles, `stride` doubles apart.
fn column(count: usize, block: usize, stride: usize) -> Datatype {
    let ty = Datatype::vector(count as i64, block as i64, stride as i64, double()).expect("a vector type");
    ty.commit();
    ty
}

fn out_of<'t>(data: &[f64], ty: &'t Datatype) -> SendBuf<'static, 't> {
    // SAFETY: the tests keep the data until the operation is complete, and the types reach only into it.
    SendBuf::raw(unsafe { ConstMem::base(data.as_ptr().cast()) }, 1, ty)
}

fn into<'t>(data: &mut [f64], ty: &'t Datatype) -> RecvBuf<'static, 't> {
    // SAFETY: as in `out_of`.
    RecvBuf::raw(unsafe { MutMem::base(data.as_mut_ptr().cast()) }, 1, ty)
}

#[test]
fn columns_travel_between_layouts() {
    // Elements per column, block, stride: eager and large, gathered, listed and packed pieces.
    let shapes = [(3, 1, 2), (50, 1, 3), (5, 400, 500), (3000, 2, 5), (20, 6000, 7000), (70_000, 1, 2)];
    for n in [1, 2, 3] {
        testing::run(n, |comm| {
            let (left, right) = testing::neighbours(comm);
            for (tag, (count, block, stride)) in shapes.into_iter().enumerate() {
                let (tag, total) = (tag as i32, count * block);
                let strided = column(count, block, stride);
                let data: Vec<f64> = (0..count * stride).map(|i| (i * 10 + comm.rank() as usize) as f64).collect();
                let expected: Vec<f64> =
                    (0..total).map(|i| ((i / block * stride + i % block) * 10 + left as usize) as f64).collect();
                // Strided to contiguous.
                let mut flat = vec![0.0; total];
                let status = comm
                    .sendrecv(out_of(&data, &strided), right, tag, RecvBuf::of(&mut flat), left, tag)
                    .expect("sendrecv");
                assert_eq!(status.bytes, total as u64 * 8);
                assert_eq!(flat, expected);
                // Contiguous to another stride; what lies between is not touched.
                let other = column(total, 1, 2);
                let mut spread = vec![-1.0; total * 2];
                let mine: Vec<f64> = (0..total).map(|i| (i + 1000 * comm.rank() as usize) as f64).collect();
                comm.sendrecv(SendBuf::of(&mine), right, tag, into(&mut spread, &other), left, tag).expect("sendrecv");
                for (i, pair) in spread.chunks(2).enumerate() {
                    assert_eq!(pair, [(i + 1000 * left as usize) as f64, -1.0]);
                }
                // Strided to strided.
                let mut same = vec![-1.0; count * stride];
                comm.sendrecv(out_of(&data, &strided), right, tag, into(&mut same, &strided), left, tag)
                    .expect("sendrecv");
                for (i, value) in same.iter().enumerate() {
                    let want = if i % stride < block { (i * 10 + left as usize) as f64 } else { -1.0 };
                    assert_eq!(*value, want, "element {i}");
                }
            }
        });
    }
}

#[test]
fn absolute_addresses_from_bottom() {
    testing::run(2, |comm| {
        // A header and two big arrays, as pickled objects with out-of-band buffers are sent.
        let sizes = [40usize, 300_000, 5, 1_000_000];
        let lens: Vec<i64> = sizes.iter().map(|n| *n as i64).collect();
        let byte = Datatype::predefined(Basic::Byte);
        if comm.rank() == 0 {
            let parts: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(i, n)| vec![i as u8 + 1; *n]).collect();
            let addresses: Vec<i64> = parts.iter().map(|p| p.as_ptr() as i64).collect();
            let ty = Datatype::hindexed(&lens, &addresses, byte).expect("a type of absolute addresses");
            ty.commit();
            // SAFETY: the addresses in the type are those of `parts`, alive until the send returns.
            let bottom = unsafe { ConstMem::base(std::ptr::null()) };
            for _ in 0..3 {
                comm.send(SendBuf::raw(bottom, 1, &ty), 1, 0).expect("send");
            }
        } else {
            let total: usize = sizes.iter().sum();
            let mut flat = vec![0u8; total];
            comm.recv(RecvBuf::of(&mut flat), 0, 0).expect("recv");
            let mut at = 0;
            for (i, n) in sizes.iter().enumerate() {
                assert!(flat[at..at + n].iter().all(|b| *b == i as u8 + 1), "part {i}");
                at += n;
            }
            for _ in 0..2 {
                let mut parts: Vec<Vec<u8>> = sizes.iter().map(|n| vec![0; *n]).collect();
                let addresses: Vec<i64> = parts.iter_mut().map(|p| p.as_mut_ptr() as i64).collect();
                let ty = Datatype::hindexed(&lens, &addresses, byte).expect("a type of absolute addresses");
                ty.commit();
                // SAFETY: the addresses in the type are those of `parts`, alive until the receive returns.
                let bottom = unsafe { MutMem::base(std::ptr::null_mut()) };
                comm.recv(RecvBuf::raw(bottom, 1, &ty), 0, 0).expect("recv");
                for (i, part) in parts.iter().enumerate() {
                    assert!(part.iter().all(|b| *b == i as u8 + 1), "part {i}");
                }
            }
        }
    });
}

#[test]
fn a_computing_sender_does_not_hold_up_the_receiver() {
    static RECEIVED: AtomicBool = AtomicBool::new(false);
    let layouts = [column(1, 200_000, 200_000), column(40, 5000, 6000), column(100_000, 1, 2)];
    for ty in &layouts {
        RECEIVED.store(false, Ordering::Relaxed);
        testing::run(2, |comm| {
            let mut data = vec![0.0f64; 250_000];
            if comm.rank() == 0 {
                data.fill(2.5);
                let mut send = comm.isend(out_of(&data, ty), 1, 0).expect("isend");
                // No call into the engine until the receiver has everything.
                let began = Instant::now();
                while !RECEIVED.load(Ordering::Relaxed) {
                    assert!(began.elapsed() < Duration::from_secs(20), "the receiver waits for the sender");
                    std::thread::sleep(Duration::from_millis(1));
                }
                send.wait().expect("wait");
            } else {
                let n = ty.size() / 8;
                comm.recv(RecvBuf::of(&mut data[..n]), 0, 0).expect("recv");
                assert!(data[..n].iter().all(|x| *x == 2.5));
                RECEIVED.store(true, Ordering::Relaxed);
            }
        });
    }
}
