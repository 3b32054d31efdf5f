//! Files of ranks that are threads, beside a model.

use std::path::PathBuf;

use super::{File, Mode, Place, Representation, Whence};
use crate::datatype::{Basic, Datatype};
use crate::engine::memory;
use crate::error::ErrorClass;
use crate::testing::run;
use crate::{RecvBuf, SendBuf};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("phalanx-io-{}-{name}", std::process::id()))
}

fn mode() -> Mode {
    Mode {
        read: true,
        write: true,
        create: true,
        exclusive: false,
        delete_on_close: true,
        sequential: false,
        append: false,
    }
}

#[test]
fn ranks_interleave_their_blocks_through_views_and_read_them_back() {
    for n in [1, 2, 3, 8] {
        let path = path(&format!("interleaved-{n}"));
        run(n, |comm| {
            let file = File::open(comm, &path, mode()).unwrap();
            let (rank, size) = (i64::from(comm.rank()), i64::from(comm.size()));
            let int = Datatype::predefined(Basic::Int32);
            let block = Datatype::vector(1, 2, 2 * size, int).unwrap();
            let ty = Datatype::resized(&block, 0, 8 * size).unwrap();
            ty.commit();
            file.set_view(Some(8 * rank), int, &ty, Ok(Representation::Native)).unwrap();
            let mine: Vec<i32> = (0..1000).map(|i| comm.rank() * 1000 + i).collect();
            assert_eq!(file.write(Place::Own, SendBuf::of(&mine)).unwrap().bytes, 4000);
            file.sync().unwrap();
            let mut back = vec![0i32; 1001];
            file.seek(0, Whence::Set).unwrap();
            let status = file.read(Place::Own, RecvBuf::of(&mut back)).unwrap();
            assert_eq!((status.bytes, &back[..1000]), (4000, &mine[..]));
            let byte = Datatype::predefined(Basic::Byte);
            file.set_view(Some(0), byte, byte, Ok(Representation::Native)).unwrap();
            let mut all = vec![0i32; 1000 * n];
            file.read(Place::At(0), RecvBuf::of(&mut all)).unwrap();
            for (i, value) in all.iter().enumerate() {
                let (tile, inside) = (i / (2 * n), i % (2 * n));
                assert_eq!(*value as usize, inside / 2 * 1000 + tile * 2 + inside % 2);
            }
            file.close().unwrap();
        });
        assert!(!path.exists());
    }
}

#[test]
fn the_shared_position_gives_everybody_a_place_and_the_ordered_one_the_ranks_order() {
    for n in [1, 2, 3, 8] {
        let path = path(&format!("shared-{n}"));
        run(n, |comm| {
            let file = File::open(comm, &path, mode()).unwrap();
            let mine = vec![comm.rank() as u8; comm.rank() as usize + 1];
            file.write(Place::Ordered, SendBuf::of(&mine)).unwrap();
            file.write(Place::Shared, SendBuf::of(&[comm.rank() as u8])).unwrap();
            file.sync().unwrap();
            let total = n * (n + 1) / 2;
            assert_eq!(file.shared_position().unwrap(), (total + n) as u64);
            let mut all = vec![0u8; total + n];
            file.read(Place::At(0), RecvBuf::of(&mut all)).unwrap();
            let ordered: Vec<u8> = (0..n).flat_map(|r| vec![r as u8; r + 1]).collect();
            assert_eq!(all[..total], ordered);
            all[total..].sort_unstable();
            assert!(all[total..].iter().enumerate().all(|(i, v)| i == usize::from(*v)));
            file.close().unwrap();
        });
    }
}

#[test]
fn external32_stores_big_endian_and_four_bytes_for_a_long() {
    let path = path("external");
    run(2, |comm| {
        let file = File::open(comm, &path, mode()).unwrap();
        let long = Datatype::predefined(Basic::Long);
        file.set_view(Some(0), long, long, Ok(Representation::External32)).unwrap();
        assert_eq!(file.type_extent(long).unwrap(), 4);
        let values = [i64::from(comm.rank()) + 258, -1];
        file.write(Place::At(2 * i64::from(comm.rank())), SendBuf::raw(memory::of(&values), 2, long)).unwrap();
        file.sync().unwrap();
        let mut back = [0i64; 3];
        let status = file.read(Place::At(2), RecvBuf::raw(memory::of_mut(&mut back), 3, long)).unwrap();
        assert_eq!((status.bytes, back), (16, [259, -1, 0]));
        assert_eq!(std::fs::read(&path).unwrap()[..8], [0, 0, 1, 2, 255, 255, 255, 255]);
        file.close().unwrap();
    });
}

#[test]
fn all_ranks_fail_alike_when_the_file_cannot_be_opened() {
    run(3, |comm| {
        let missing = path("missing");
        let class = |mode| File::open(comm, &missing, mode).err().map(|e| e.class());
        assert_eq!(class(Mode { create: false, ..mode() }), Some(ErrorClass::NoSuchFile));
        assert_eq!(class(Mode { append: comm.rank() == 1, ..mode() }), Some(ErrorClass::NotSame));
        assert_eq!(class(Mode { sequential: true, ..mode() }), Some(ErrorClass::Amode));
        let directory = File::open(comm, &std::env::temp_dir(), Mode { write: false, create: false, ..mode() });
        assert_eq!(directory.err().map(|e| e.class()), Some(ErrorClass::BadFile));
    });
}

/// A view of `piece` bytes of each rank in turn, with as many between the tiles.
fn pieces(comm: &crate::Comm, file: &File, piece: i64) {
    let byte = Datatype::predefined(Basic::Byte);
    let block = Datatype::contiguous(piece, byte).unwrap();
    let tile = Datatype::resized(&block, 0, piece * (i64::from(comm.size()) + 1)).unwrap();
    tile.commit();
    file.set_view(Some(piece * i64::from(comm.rank())), byte, &tile, Ok(Representation::Native)).unwrap();
}

#[test]
fn small_pieces_written_together_are_where_they_belong_and_nothing_else_is_written() {
    for n in [1, 2, 3, 8] {
        let path = path(&format!("together-{n}"));
        run(n, |comm| {
            let file = File::open(comm, &path, mode()).unwrap();
            for (piece, count) in [(1, 500), (7, 20), (64, 40_000 / n), (1000, 3)] {
                let (size, rank) = (comm.size() as usize, comm.rank() as usize);
                // Ranks have other numbers of pieces, one of them none.
                let mine = piece * count * usize::from(rank != 1 || n == 2) / (1 + rank % 2);
                let total = piece * count * (size + 1);
                let byte = Datatype::predefined(Basic::Byte);
                file.set_view(Some(0), byte, byte, Ok(Representation::Native)).unwrap();
                if rank == 0 {
                    file.write(Place::At(0), SendBuf::of(&vec![0xeeu8; total])).unwrap();
                }
                pieces(comm, &file, piece as i64);
                let data: Vec<u8> = (0..mine).map(|i| (i % 100 + 101 * (rank % 2)) as u8).collect();
                // Often enough for every way.
                for _ in 0..5 {
                    let status = file.write_all(Place::At(0), SendBuf::of(&data)).unwrap();
                    assert_eq!(status.bytes, mine as u64);
                }
                file.sync().unwrap();
                let found = std::fs::read(&path).unwrap();
                for (i, value) in found[..total].iter().enumerate() {
                    let (tile, who) = (i / (piece * (size + 1)), i / piece % (size + 1));
                    let at = tile * piece + i % piece;
                    let theirs = piece * count * usize::from(who != 1 || n == 2) / (1 + who % 2);
                    let written = who < size && at < theirs;
                    let expected = if written { (at % 100 + 101 * (who % 2)) as u8 } else { 0xee };
                    assert_eq!(*value, expected, "byte {i} with pieces of {piece}, {n} ranks");
                }
                comm.barrier().unwrap();
            }
            file.close().unwrap();
        });
    }
}

#[test]
fn a_rank_with_wrong_arguments_fails_alone_in_a_collective_write() {
    run(3, |comm| {
        let file = File::open(comm, &path("alone"), mode()).unwrap();
        pieces(comm, &file, 4);
        for _ in 0..4 {
            let place = Place::At(if comm.rank() == 1 { -1 } else { 0 });
            let wrote = file.write_all(place, SendBuf::of(&[7u8; 100_000]));
            assert_eq!(wrote.err().map(|e| e.class()), (comm.rank() == 1).then_some(ErrorClass::Arg));
        }
        file.close().unwrap();
    });
}

#[test]
fn small_pieces_of_ranks_that_write_at_once_are_all_there_and_so_is_what_others_write_between() {
    for n in [1, 2, 3, 8] {
        let path = path(&format!("small-{n}"));
        run(n, |comm| {
            let file = File::open(comm, &path, mode()).unwrap();
            let (rank, size) = (comm.rank() as usize, comm.size() as usize);
            let between = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
            for (turn, (piece, count)) in [(1, 5000), (64, 20_000), (100, 3000), (700, 2000)].into_iter().enumerate() {
                let value = |who: usize, i: usize| (i % 50 + 60 * (who % 4) + turn + 1) as u8;
                pieces(comm, &file, piece as i64);
                let mine: Vec<u8> = (0..piece * count).map(|i| value(rank, i)).collect();
                let tile = piece * (size + 1);
                let (head, rest) = mine.split_at(piece * count / 2 / piece * piece + piece / 2);
                // What belongs to no rank is written plainly meanwhile, by another opening of the file.
                let gaps = std::thread::scope(|scope| {
                    let other = (rank == 0).then(|| {
                        scope.spawn(|| {
                            for i in 0..count {
                                let data: Vec<u8> = (0..piece).map(|j| value(size, i * piece + j)).collect();
                                let at = i * tile + piece * size;
                                std::os::unix::fs::FileExt::write_all_at(&between, &data, at as u64).unwrap();
                            }
                        })
                    });
                    file.write(Place::At(0), SendBuf::of(head)).unwrap();
                    file.write(Place::At(head.len() as i64), SendBuf::of(rest)).unwrap();
                    other.map(|other| other.join())
                });
                assert!(gaps.is_none_or(|ended| ended.is_ok()));
                file.sync().unwrap();
                let found = std::fs::read(&path).unwrap();
                for (i, byte) in found.iter().take(count * tile).enumerate() {
                    let (who, at) = (i / piece % (size + 1), i / tile * piece + i % piece);
                    assert_eq!(*byte, value(who, at), "byte {i} with pieces of {piece}, {n} ranks");
                }
                assert!(found.len() >= count * tile);
                let mut back = vec![0u8; mine.len() + 1];
                let status = file.read(Place::At(0), RecvBuf::of(&mut back)).unwrap();
                assert!(status.bytes >= mine.len() as u64);
                assert_eq!(back[..mine.len()], mine, "read back by rank {rank} of {n}");
                comm.barrier().unwrap();
            }
            file.close().unwrap();
        });
    }
}

#[test]
fn small_pieces_are_written_to_files_that_may_not_be_read_or_are_cut_meanwhile() {
    let path = path("cut");
    run(2, |comm| {
        let file = File::open(comm, &path, Mode { read: false, ..mode() }).unwrap();
        pieces(comm, &file, 64);
        let mine = [7u8; 64 * 4096];
        for _ in 0..20 {
            if comm.rank() == 1 {
                std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
            }
            file.write(Place::At(0), SendBuf::of(&mine)).unwrap();
        }
        comm.barrier().unwrap();
        file.write(Place::At(0), SendBuf::of(&mine)).unwrap();
        file.sync().unwrap();
        let found = std::fs::read(&path).unwrap();
        for (i, byte) in found[..4096 * 192 - 64].iter().enumerate() {
            assert_eq!(*byte, if i / 64 % 3 < 2 { 7 } else { 0 }, "byte {i}");
        }
        file.close().unwrap();
    });
}

#[test]
fn reads_are_the_same_wherever_in_a_page_the_memory_begins() {
    let path = path("offsets");
    run(1, |comm| {
        let file = File::open(comm, &path, mode()).unwrap();
        let data: Vec<u8> = (0..300_000).map(|i| (i % 251) as u8).collect();
        file.write(Place::At(0), SendBuf::of(&data)).unwrap();
        let mut memory = vec![0; data.len() + 2 * 4096];
        let start = memory.as_ptr().addr().wrapping_neg() % 4096;
        for offset in [0, 1, 16, 31, 32, 63, 64] {
            for (at, len) in [(0, 2047), (0, 4096), (5, 70_000), (0, 300_000), (4096, 300_000)] {
                memory.fill(255);
                let begin = start + at % 4096 + offset;
                let got = data.len().min(at + len) - at;
                let into = &mut memory[begin..begin + len];
                let status = file.read(Place::At(at as i64), RecvBuf::of(into)).unwrap();
                assert_eq!(status.bytes, got as u64);
                assert!(into[..got] == data[at..at + got], "{len} bytes from {at} on at offset {offset}");
                assert!(memory[..begin].iter().chain(&memory[begin + got..]).all(|byte| *byte == 255));
            }
        }
        file.close().unwrap();
    });
}
