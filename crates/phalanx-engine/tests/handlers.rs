//! Handlers that send and receive in the middle of a receive of unknown size, which is not in a posted queue.

use std::cell::RefCell;
use std::sync::{Barrier, LazyLock};

use phalanx_engine::pt2pt::Received;
use phalanx_engine::{ANY_SOURCE, ANY_TAG, Comm, Error, RecvBuf, Result, SendBuf, SendMode, testing};
use phalanx_shm::Exit;

/// What of a message goes into the room that receives are begun with.
const ROOM: usize = 4096;
/// Bytes: small, more than the room, and such as wait until they are received.
const SIZES: &[usize] = &[0, 8, ROOM, 10_000, 100_000, (3 << 20) + 5];

type Handler = Box<dyn FnOnce() -> bool>;

thread_local! {
    static HANDLER: RefCell<Option<Handler>> = const { RefCell::new(None) };
    /// What a handler has received.
    static HANDLED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Runs the handler of the calling rank, once.
fn hook() -> bool {
    HANDLER.take().is_some_and(|handler| handler())
}

/// Receives; `handler` runs once this call has slept in vain, and says whether the call gives up.
fn receive(comm: &Comm, source: i32, tag: i32, handler: impl FnOnce(&Comm) -> bool + 'static) -> Result<Vec<u8>> {
    let here = comm.clone();
    HANDLER.set(Some(Box::new(move || handler(&here))));
    comm.engine().set_interrupt_hook(Some(hook));
    let outcome = plain(comm, source, tag);
    comm.engine().set_interrupt_hook(None);
    assert!(HANDLER.take().is_none(), "the handler has run");
    outcome
}

fn plain(comm: &Comm, source: i32, tag: i32) -> Result<Vec<u8>> {
    let mut room = vec![0u8; ROOM];
    match comm.recv_or_match(RecvBuf::of(&mut room), source, tag)? {
        Received::Whole(status) => {
            room.truncate(status.bytes as usize);
            Ok(room)
        }
        Received::Matched(message, status) => {
            let mut whole = vec![0u8; status.bytes as usize];
            message.recv(RecvBuf::of(&mut whole))?;
            Ok(whole)
        }
    }
}

fn data(bytes: usize, seed: i32) -> Vec<u8> {
    (0..bytes).map(|i| ((i * 31) ^ (i >> 8) ^ (seed as usize * 7)) as u8).collect()
}

fn ssend(comm: &Comm, data: &[u8], dest: i32, tag: i32) {
    comm.send_mode(SendMode::Synchronous, SendBuf::of(data), dest, tag).expect("send");
}

fn tell(comm: &Comm, dest: i32, tag: i32) {
    comm.send(SendBuf::of(&[1u8]), dest, tag).expect("send");
}

fn hear(comm: &Comm, source: i32, tag: i32) {
    comm.recv(RecvBuf::of(&mut [0u8]), source, tag).expect("receive");
}

/// Messages that fit no receive of these tests, so that the queue is searched in its other way.
fn crowd(comm: &Comm, dest: i32, messages: i32) {
    for tag in 0..messages {
        comm.send(SendBuf::of(&[tag]), dest, 1000 + tag).expect("send");
    }
}

fn clear(comm: &Comm, source: i32, messages: i32) {
    for tag in 0..messages {
        let mut value = [0i32];
        comm.recv(RecvBuf::of(&mut value), source, 1000 + tag).expect("receive");
        assert_eq!(value, [tag]);
    }
}

#[test]
fn ranks_whose_handlers_send_to_each_other_while_they_receive_go_on() {
    static IN_HANDLERS: LazyLock<Barrier> = LazyLock::new(|| Barrier::new(2));
    testing::run(2, |comm| {
        let (me, other) = (comm.rank(), 1 - comm.rank());
        for &bytes in SIZES {
            for (source, tag, others) in [(other, 7, 0), (ANY_SOURCE, 7, 0), (other, 7, 40), (ANY_SOURCE, ANY_TAG, 0)] {
                crowd(comm, other, others);
                let got = receive(comm, source, tag, move |comm| {
                    // Nobody sends before both are in their handlers.
                    IN_HANDLERS.wait();
                    ssend(comm, &data(bytes, me), 1 - me, 7);
                    false
                });
                assert!(got.expect("receive") == data(bytes, other), "{bytes} bytes");
                clear(comm, other, others);
            }
        }
    });
}

#[test]
fn a_handler_that_sends_to_its_own_rank_is_heard_by_the_receive_below_it() {
    testing::run(1, |comm| {
        for &bytes in SIZES {
            let got = receive(comm, 0, ANY_TAG, move |comm| {
                ssend(comm, &data(bytes, 3), 0, 9);
                false
            });
            assert!(got.expect("receive") == data(bytes, 3), "{bytes} bytes");
        }
    });
}

#[test]
fn a_receive_that_its_handler_ends_leaves_its_message_to_the_next_one() {
    testing::run(2, |comm| {
        for &bytes in SIZES {
            if comm.rank() == 0 {
                let error: Error = receive(comm, 1, 2, |comm| {
                    tell(comm, 1, 8);
                    // The other's synchronous send of what is waited for ends: a receive has begun.
                    hear(comm, 1, 3);
                    true
                })
                .expect_err("interrupted");
                assert!(error.is_interrupted());
                if bytes <= 10_000 {
                    assert!(plain(comm, 1, ANY_TAG).expect("receive") == [1], "what came first comes first");
                    assert!(plain(comm, 1, ANY_TAG).expect("receive") == data(bytes, 2));
                } else {
                    assert!(plain(comm, 1, 2).expect("receive") == data(bytes, 2));
                    assert!(plain(comm, 1, 1).expect("receive") == [1]);
                }
            } else {
                hear(comm, 0, 8);
                comm.send(SendBuf::of(&[1u8]), 0, 1).expect("send");
                ssend(comm, &data(bytes, 2), 0, 2);
                tell(comm, 0, 3);
            }
            comm.barrier().expect("barrier");
        }
    });
}

#[test]
fn receives_below_each_other_get_a_message_each() {
    testing::run(2, |comm| {
        for &bytes in SIZES {
            if comm.rank() == 0 {
                let got = receive(comm, 1, 5, move |comm| {
                    let inner = receive(comm, 1, 5, |comm| {
                        tell(comm, 1, 8);
                        hear(comm, 1, 6);
                        false
                    });
                    let inner = inner.expect("receive");
                    assert!(inner == data(bytes, 1) || inner == data(bytes, 2));
                    HANDLED.set(Some(inner));
                    false
                });
                let mut both = [got.expect("receive"), HANDLED.take().expect("the handler's")];
                both.sort_by_key(|one| *one != data(bytes, 1));
                assert!(both == [data(bytes, 1), data(bytes, 2)], "{bytes} bytes");
            } else {
                hear(comm, 0, 8);
                // Both end because two receives have begun.
                ssend(comm, &data(bytes, 1), 0, 5);
                ssend(comm, &data(bytes, 2), 0, 5);
                tell(comm, 0, 6);
            }
            comm.barrier().expect("barrier");
        }
    });
}

#[test]
fn a_message_of_a_rank_that_ended_during_the_handler_is_received() {
    static IN_HANDLER: Barrier = Barrier::new(2);
    static OVER: Barrier = Barrier::new(2);
    for &bytes in SIZES.iter().filter(|bytes| **bytes <= ROOM) {
        testing::run(2, |comm| {
            if comm.rank() == 0 {
                let got = receive(comm, 1, 7, |_| {
                    IN_HANDLER.wait();
                    OVER.wait();
                    false
                });
                assert!(got.expect("receive") == data(bytes, 5), "{bytes} bytes");
            } else {
                IN_HANDLER.wait();
                comm.send(SendBuf::of(&data(bytes, 5)), 0, 7).expect("send");
                comm.engine().finalize().expect("finalize");
                // As a launcher says it.
                comm.engine().universe().slot(comm.engine().me()).record_exit(Exit::Status(0));
                OVER.wait();
            }
        });
    }
}
