//! Neighbourhood collectives against a model that knows the whole graph.

use std::sync::Arc;

use super::mistakes::assert_error;
use super::*;
use crate::coll::Neighbours;
use crate::error::ErrorClass;
use crate::status::PROC_NULL;

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

/// What every rank sends to and receives from, as all of them know it.
struct World {
    /// For each rank its neighbours' lists.
    around: Vec<Arc<Neighbours>>,
    /// For each rank and each of its incoming blocks: the rank and the outgoing block that it is, if any.
    origin: Vec<Vec<Option<(usize, usize)>>>,
}

impl World {
    /// A graph: in the model the k-th edge from `a` to `b` in the list of `a` is the k-th in the list of `b`.
    fn graph(sources: &[Vec<i32>], destinations: &[Vec<i32>]) -> World {
        let around = sources.iter().zip(destinations).map(|(s, d)| Arc::new(Neighbours::graph(s, d))).collect();
        let mut origin = Vec::new();
        for (me, list) in sources.iter().enumerate() {
            let mut own = Vec::new();
            for (slot, from) in list.iter().enumerate() {
                let before = list[..slot].iter().filter(|s| *s == from).count();
                let edges = &destinations[*from as usize];
                let (block, _) = edges.iter().enumerate().filter(|(_, to)| **to == me as i32).nth(before).unwrap();
                own.push(Some((*from as usize, block)));
            }
            origin.push(own);
        }
        World { around, origin }
    }

    /// Random edges, in another order at each end.
    fn random(ranks: usize, edges: usize, random: &mut Random) -> World {
        let (mut sources, mut destinations) = (vec![Vec::new(); ranks], vec![Vec::new(); ranks]);
        for _ in 0..edges {
            let (from, to) = (random.below(ranks), random.below(ranks));
            destinations[from].push(to as i32);
            sources[to].push(from as i32);
        }
        sources.iter_mut().chain(&mut destinations).for_each(|list| random.shuffle(list));
        World::graph(&sources, &destinations)
    }

    /// A grid, the last dimension varying fastest: what comes from below was sent upwards.
    fn grid(dims: &[usize], periodic: &[bool]) -> World {
        let ranks: usize = dims.iter().product();
        let next = |rank: usize, axis: usize, step: isize| -> Option<usize> {
            let stride: usize = dims[axis + 1..].iter().product();
            let at = (rank / stride % dims[axis]) as isize + step;
            let wrapped = at.rem_euclid(dims[axis] as isize);
            (at == wrapped || periodic[axis])
                .then(|| rank - (rank / stride % dims[axis]) * stride + wrapped as usize * stride)
        };
        let nobody = |rank: Option<usize>| rank.map_or(PROC_NULL, |r| r as i32);
        let axes = || 0..dims.len();
        let around = |rank| {
            let pairs: Vec<_> = axes().map(|d| (nobody(next(rank, d, -1)), nobody(next(rank, d, 1)))).collect();
            Arc::new(Neighbours::grid(&pairs))
        };
        let origin = |rank| {
            let both = |d| [next(rank, d, -1).map(|r| (r, 2 * d + 1)), next(rank, d, 1).map(|r| (r, 2 * d))];
            axes().flat_map(both).collect()
        };
        World { around: (0..ranks).map(around).collect(), origin: (0..ranks).map(origin).collect() }
    }
}

/// Elements of the block that a rank sends in a place, for blocks of different sizes.
fn length(rank: usize, slot: usize, most: usize) -> usize {
    (rank * 7 + slot * 3) % (most + 1)
}

fn block(rank: usize, slot: usize, count: usize) -> impl Iterator<Item = i32> {
    (0..count).map(move |i| value(rank, i) + 17 * slot as i32)
}

fn starts(counts: &[i64]) -> Vec<i64> {
    counts.iter().scan(0, |end, count| Some(std::mem::replace(end, *end + count))).collect()
}

/// Calls all of the operations on the ranks of `world`, with blocks of `most` elements or up to as many.
fn check(comm: &Comm, form: Form, world: &World, most: usize) {
    let m = me(comm);
    let (around, origin) = (&world.around[m], &world.origin[m]);
    let (outs, ins) = (around.destinations(), around.sources());
    let untouched = -7;

    let mine = values(m, most);
    let all = Data::filled(ins * most, untouched);
    call!(
        form,
        comm.neighbor_allgather
            | ineighbor_allgather
            | neighbor_allgather_init(around, mine.send(), all.recv().into(),)
    )
    .unwrap();
    let expected = |from: &Option<(usize, usize)>| from.map_or(vec![untouched; most], |(r, _)| values(r, most).0);
    assert!(all.0 == origin.iter().flat_map(expected).collect::<Vec<_>>(), "Neighbor_allgather, {form:?}");

    let out = Data::new((0..outs).flat_map(|slot| block(m, slot, most)));
    let all = Data::filled(ins * most, untouched);
    call!(
        form,
        comm.neighbor_alltoall
            | ineighbor_alltoall
            | neighbor_alltoall_init(around, out.send().into(), all.recv().into(),)
    )
    .unwrap();
    let expected = |from: &Option<(usize, usize)>| match from {
        Some((r, slot)) => block(*r, *slot, most).collect(),
        None => vec![untouched; most],
    };
    assert!(all.0 == origin.iter().flat_map(expected).collect::<Vec<_>>(), "Neighbor_alltoall, {form:?}");

    // Blocks of different sizes: to each neighbour another one, or of each neighbour another one.
    let sent: Vec<i64> = (0..outs).map(|slot| length(m, slot, most) as i64).collect();
    let come = |same: bool| -> Vec<i64> {
        let count = |from: &Option<(usize, usize)>| from.map_or(1, |(r, s)| length(r, if same { 0 } else { s }, most));
        origin.iter().map(|from| count(from) as i64).collect()
    };
    let expected = |same: bool| -> Vec<i32> {
        let data = |from: &Option<(usize, usize)>| match *from {
            Some((r, _)) if same => block(r, 0, length(r, 0, most)).collect(),
            Some((r, slot)) => block(r, slot, length(r, slot, most)).collect(),
            None => vec![untouched],
        };
        origin.iter().flat_map(data).collect()
    };
    let out = Data::new((0..outs).flat_map(|slot| block(m, slot, sent[slot] as usize)));
    let (displs, counts) = (starts(&sent), come(false));
    let places = starts(&counts);
    let all = Data::filled(counts.iter().sum::<i64>() as usize, untouched);
    call!(
        form,
        comm.neighbor_alltoallv
            | ineighbor_alltoallv
            | neighbor_alltoallv_init(around, out.send_blocks(&sent, &displs), all.recv_blocks(&counts, &places),)
    )
    .unwrap();
    assert!(all.0 == expected(false), "Neighbor_alltoallv, {form:?}");

    let all = Data::filled(all.0.len(), untouched);
    let bytes = |places: &[i64]| places.iter().map(|at| 4 * at).collect::<Vec<i64>>();
    let (from, to) = (bytes(&displs), bytes(&places));
    let types = vec![i32::datatype().clone(); outs.max(ins)];
    let send = || SendBlocks::each(out.const_mem(), &sent, &from, &types[..outs]);
    let recv = || RecvBlocks::each(all.mut_mem(), &counts, &to, &types[..ins]);
    call!(form, comm.neighbor_alltoallw | ineighbor_alltoallw | neighbor_alltoallw_init(around, send(), recv()))
        .unwrap();
    assert!(all.0 == expected(false), "Neighbor_alltoallw, {form:?}");

    let mine = Data::new(block(m, 0, length(m, 0, most)));
    let counts = come(true);
    let places = starts(&counts);
    let all = Data::filled(counts.iter().sum::<i64>() as usize, untouched);
    call!(
        form,
        comm.neighbor_allgatherv
            | ineighbor_allgatherv
            | neighbor_allgatherv_init(around, mine.send(), all.recv_blocks(&counts, &places),)
    )
    .unwrap();
    assert!(all.0 == expected(true), "Neighbor_allgatherv, {form:?}");
}

#[test]
fn grids_of_any_extents_move_blocks_in_their_direction() {
    let shapes: [&[usize]; 11] =
        [&[1], &[2], &[3], &[1, 1], &[2, 1], &[1, 3], &[5], &[2, 2, 2], &[8], &[4, 2], &[1, 2, 1]];
    for dims in shapes {
        testing::run(dims.iter().product(), |comm| {
            for periods in 0..1 << dims.len() {
                let periodic: Vec<bool> = (0..dims.len()).map(|d| periods >> d & 1 == 1).collect();
                let world = World::grid(dims, &periodic);
                FORMS.into_iter().for_each(|form| check(comm, form, &world, 5));
            }
        });
    }
}

#[test]
fn random_graphs_with_loops_and_repeated_edges_move_every_block_along_its_edge() {
    let seed = 0x5eed_0bad_cafe;
    for n in RANKS {
        testing::run(n, |comm| {
            let mut random = Random(seed + n as u64);
            for edges in [0, 1, n, 3 * n, 6 * n] {
                let world = World::random(n, edges, &mut random);
                for most in [0, 1, 40, 3_000] {
                    FORMS.into_iter().for_each(|form| check(comm, form, &world, most));
                }
            }
        });
    }
}

/// More neighbours than other collectives keep under way at once, and blocks that do not go in one record.
#[test]
fn hundreds_of_neighbours_and_large_blocks_do_not_wait_for_each_other() {
    for n in [2, 3] {
        testing::run(n, |comm| {
            let mut random = Random(0xfeed + n as u64);
            let many = World::random(n, 200 * n, &mut random);
            FORMS.into_iter().for_each(|form| check(comm, form, &many, 20));
            let large = World::random(n, 4 * n, &mut random);
            FORMS.into_iter().for_each(|form| check(comm, form, &large, 150_000));
        });
    }
}

#[test]
fn neighbourhoods_under_way_together_and_beside_others_keep_apart() {
    for n in RANKS {
        testing::run(n, |comm| {
            let m = me(comm);
            let world = World::random(n, 4 * n, &mut Random(0xabcd + n as u64));
            let around = &world.around[m];
            let rounds = 8;
            let out: Vec<Data<i32>> = (0..rounds)
                .map(|k| Data::new((0..around.destinations()).map(|s| block(m, s, 1).sum::<i32>() + k)))
                .collect();
            let into: Vec<Data<i32>> = (0..rounds).map(|_| Data::filled(around.sources(), -1)).collect();
            let mut requests = Vec::new();
            for (out, into) in out.iter().zip(&into) {
                requests.push(comm.ineighbor_alltoall(around, out.send().into(), into.recv().into()).unwrap());
                requests.push(comm.ibarrier().unwrap());
            }
            comm.barrier().unwrap();
            requests.iter_mut().rev().for_each(|r| assert!(r.wait().is_ok()));
            for (k, into) in (0..).zip(&into) {
                let sent = |from: &Option<(usize, usize)>| from.map_or(-1, |(r, s)| block(r, s, 1).sum::<i32>() + k);
                assert!(into.0 == world.origin[m].iter().map(sent).collect::<Vec<_>>());
            }
        });
    }
}

#[test]
fn what_is_wrong_is_said_with_the_name_of_the_form() {
    testing::run(2, |comm| {
        let around = Arc::new(Neighbours::graph(&[0, 1], &[1, 0, 0]));
        let data = Data::filled(4, 0);
        let blocks = || data.send_blocks(&[1, 1], &[0, 1]);
        assert_error(
            comm.neighbor_alltoallv(&around, blocks(), data.recv_blocks(&[1, 1], &[0, 1])),
            ErrorClass::Arg,
            &["Neighbor_alltoallv", "3 neighbours", "2 counts"],
        );
        assert_error(
            comm.ineighbor_alltoall(&around, data.send().into(), data.recv().into()).map(drop),
            ErrorClass::Count,
            &["Ineighbor_alltoall on", "4 elements", "3 neighbours"],
        );
        let negative = data.recv_blocks(&[1, -2], &[0, 1]);
        assert_error(
            comm.neighbor_allgatherv_init(&around, data.send(), negative).map(drop),
            ErrorClass::Count,
            &["Neighbor_allgatherv_init", "neighbour 1", "-2"],
        );
        let beyond = Arc::new(Neighbours::graph(&[2], &[]));
        assert_error(
            comm.neighbor_allgather(&beyond, data.send(), data.recv().into()),
            ErrorClass::Rank,
            &["Neighbor_allgather", "neighbour 2", "2 processes"],
        );
        comm.barrier().unwrap();
    });
}

#[test]
fn a_neighbour_that_sends_another_size_is_named() {
    testing::run(2, |comm| {
        let own = comm.dup().unwrap();
        let near = [1 - comm.rank()];
        let around = Arc::new(Neighbours::graph(&near, &near));
        let (mine, theirs) = (values(me(comm), if comm.rank() == 0 { 3 } else { 2 }), Data::filled(3, 0));
        let outcome = own.neighbor_allgather(&around, mine.send(), theirs.recv().into());
        if comm.rank() == 0 {
            assert_error(outcome, ErrorClass::Truncate, &["Neighbor_allgather", "rank 1 sent 8 bytes", "expected 12"]);
        } else {
            outcome.unwrap();
        }
    });
}
