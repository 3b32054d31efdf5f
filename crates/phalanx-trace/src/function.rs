//! The functions whose calls are recorded: all that communicate, may wait, or make and end what does. Those that only ask for or
//! set something in the process are left out; there can be a million of them between two messages.

use crate::model::Class;
use Class::{Collective, Completion, File, Management, OneSided, PointToPoint};

/// Their names in the order of their bytes, and what kind they are.
const FUNCTIONS: &[(&str, Class)] = &[
    ("MPI_Abort", Management),
    ("MPI_Accumulate", OneSided),
    ("MPI_Allgather", Collective),
    ("MPI_Allgather_init", Collective),
    ("MPI_Allgatherv", Collective),
    ("MPI_Allgatherv_init", Collective),
    ("MPI_Alloc_mem", Management),
    ("MPI_Allreduce", Collective),
    ("MPI_Allreduce_init", Collective),
    ("MPI_Alltoall", Collective),
    ("MPI_Alltoall_init", Collective),
    ("MPI_Alltoallv", Collective),
    ("MPI_Alltoallv_init", Collective),
    ("MPI_Alltoallw", Collective),
    ("MPI_Alltoallw_init", Collective),
    ("MPI_Barrier", Collective),
    ("MPI_Barrier_init", Collective),
    ("MPI_Bcast", Collective),
    ("MPI_Bcast_init", Collective),
    ("MPI_Bsend", PointToPoint),
    ("MPI_Bsend_init", PointToPoint),
    ("MPI_Buffer_attach", Management),
    ("MPI_Buffer_detach", Management),
    ("MPI_Buffer_flush", Completion),
    ("MPI_Buffer_iflush", Completion),
    ("MPI_Cancel", Completion),
    ("MPI_Cart_create", Management),
    ("MPI_Cart_sub", Management),
    ("MPI_Close_port", Management),
    ("MPI_Comm_accept", Management),
    ("MPI_Comm_ack_failed", Management),
    ("MPI_Comm_agree", Collective),
    ("MPI_Comm_attach_buffer", Management),
    ("MPI_Comm_connect", Management),
    ("MPI_Comm_create", Management),
    ("MPI_Comm_create_from_group", Management),
    ("MPI_Comm_create_group", Management),
    ("MPI_Comm_detach_buffer", Management),
    ("MPI_Comm_disconnect", Management),
    ("MPI_Comm_dup", Management),
    ("MPI_Comm_dup_with_info", Management),
    ("MPI_Comm_flush_buffer", Completion),
    ("MPI_Comm_free", Management),
    ("MPI_Comm_iagree", Collective),
    ("MPI_Comm_idup", Management),
    ("MPI_Comm_idup_with_info", Management),
    ("MPI_Comm_iflush_buffer", Completion),
    ("MPI_Comm_ishrink", Management),
    ("MPI_Comm_join", Management),
    ("MPI_Comm_revoke", Management),
    ("MPI_Comm_shrink", Management),
    ("MPI_Comm_spawn", Management),
    ("MPI_Comm_spawn_multiple", Management),
    ("MPI_Comm_split", Management),
    ("MPI_Comm_split_type", Management),
    ("MPI_Compare_and_swap", OneSided),
    ("MPI_Dist_graph_create", Management),
    ("MPI_Dist_graph_create_adjacent", Management),
    ("MPI_Exscan", Collective),
    ("MPI_Exscan_init", Collective),
    ("MPI_Fetch_and_op", OneSided),
    ("MPI_File_close", File),
    ("MPI_File_delete", File),
    ("MPI_File_get_position_shared", File),
    ("MPI_File_get_size", File),
    ("MPI_File_iread", File),
    ("MPI_File_iread_all", File),
    ("MPI_File_iread_at", File),
    ("MPI_File_iread_at_all", File),
    ("MPI_File_iread_shared", File),
    ("MPI_File_iwrite", File),
    ("MPI_File_iwrite_all", File),
    ("MPI_File_iwrite_at", File),
    ("MPI_File_iwrite_at_all", File),
    ("MPI_File_iwrite_shared", File),
    ("MPI_File_open", File),
    ("MPI_File_preallocate", File),
    ("MPI_File_read", File),
    ("MPI_File_read_all", File),
    ("MPI_File_read_all_begin", File),
    ("MPI_File_read_all_end", File),
    ("MPI_File_read_at", File),
    ("MPI_File_read_at_all", File),
    ("MPI_File_read_at_all_begin", File),
    ("MPI_File_read_at_all_end", File),
    ("MPI_File_read_ordered", File),
    ("MPI_File_read_ordered_begin", File),
    ("MPI_File_read_ordered_end", File),
    ("MPI_File_read_shared", File),
    ("MPI_File_seek", File),
    ("MPI_File_seek_shared", File),
    ("MPI_File_set_atomicity", File),
    ("MPI_File_set_size", File),
    ("MPI_File_set_view", File),
    ("MPI_File_sync", File),
    ("MPI_File_write", File),
    ("MPI_File_write_all", File),
    ("MPI_File_write_all_begin", File),
    ("MPI_File_write_all_end", File),
    ("MPI_File_write_at", File),
    ("MPI_File_write_at_all", File),
    ("MPI_File_write_at_all_begin", File),
    ("MPI_File_write_at_all_end", File),
    ("MPI_File_write_ordered", File),
    ("MPI_File_write_ordered_begin", File),
    ("MPI_File_write_ordered_end", File),
    ("MPI_File_write_shared", File),
    ("MPI_Finalize", Management),
    ("MPI_Free_mem", Management),
    ("MPI_Gather", Collective),
    ("MPI_Gather_init", Collective),
    ("MPI_Gatherv", Collective),
    ("MPI_Gatherv_init", Collective),
    ("MPI_Get", OneSided),
    ("MPI_Get_accumulate", OneSided),
    ("MPI_Graph_create", Management),
    ("MPI_Grequest_complete", Completion),
    ("MPI_Grequest_start", Completion),
    ("MPI_Group_from_session_pset", Management),
    ("MPI_Iallgather", Collective),
    ("MPI_Iallgatherv", Collective),
    ("MPI_Iallreduce", Collective),
    ("MPI_Ialltoall", Collective),
    ("MPI_Ialltoallv", Collective),
    ("MPI_Ialltoallw", Collective),
    ("MPI_Ibarrier", Collective),
    ("MPI_Ibcast", Collective),
    ("MPI_Ibsend", PointToPoint),
    ("MPI_Iexscan", Collective),
    ("MPI_Igather", Collective),
    ("MPI_Igatherv", Collective),
    ("MPI_Improbe", PointToPoint),
    ("MPI_Imrecv", PointToPoint),
    ("MPI_Ineighbor_allgather", Collective),
    ("MPI_Ineighbor_allgatherv", Collective),
    ("MPI_Ineighbor_alltoall", Collective),
    ("MPI_Ineighbor_alltoallv", Collective),
    ("MPI_Ineighbor_alltoallw", Collective),
    ("MPI_Init", Management),
    ("MPI_Init_thread", Management),
    ("MPI_Intercomm_create", Management),
    ("MPI_Intercomm_create_from_groups", Management),
    ("MPI_Intercomm_merge", Management),
    ("MPI_Iprobe", PointToPoint),
    ("MPI_Irecv", PointToPoint),
    ("MPI_Ireduce", Collective),
    ("MPI_Ireduce_scatter", Collective),
    ("MPI_Ireduce_scatter_block", Collective),
    ("MPI_Irsend", PointToPoint),
    ("MPI_Iscan", Collective),
    ("MPI_Iscatter", Collective),
    ("MPI_Iscatterv", Collective),
    ("MPI_Isend", PointToPoint),
    ("MPI_Isendrecv", PointToPoint),
    ("MPI_Isendrecv_replace", PointToPoint),
    ("MPI_Issend", PointToPoint),
    ("MPI_Lookup_name", Management),
    ("MPI_Mprobe", PointToPoint),
    ("MPI_Mrecv", PointToPoint),
    ("MPI_Neighbor_allgather", Collective),
    ("MPI_Neighbor_allgather_init", Collective),
    ("MPI_Neighbor_allgatherv", Collective),
    ("MPI_Neighbor_allgatherv_init", Collective),
    ("MPI_Neighbor_alltoall", Collective),
    ("MPI_Neighbor_alltoall_init", Collective),
    ("MPI_Neighbor_alltoallv", Collective),
    ("MPI_Neighbor_alltoallv_init", Collective),
    ("MPI_Neighbor_alltoallw", Collective),
    ("MPI_Neighbor_alltoallw_init", Collective),
    ("MPI_Op_create", Management),
    ("MPI_Op_free", Management),
    ("MPI_Open_port", Management),
    ("MPI_Parrived", Completion),
    ("MPI_Pready", PointToPoint),
    ("MPI_Pready_list", PointToPoint),
    ("MPI_Pready_range", PointToPoint),
    ("MPI_Precv_init", PointToPoint),
    ("MPI_Probe", PointToPoint),
    ("MPI_Psend_init", PointToPoint),
    ("MPI_Publish_name", Management),
    ("MPI_Put", OneSided),
    ("MPI_Raccumulate", OneSided),
    ("MPI_Recv", PointToPoint),
    ("MPI_Recv_init", PointToPoint),
    ("MPI_Reduce", Collective),
    ("MPI_Reduce_init", Collective),
    ("MPI_Reduce_scatter", Collective),
    ("MPI_Reduce_scatter_block", Collective),
    ("MPI_Reduce_scatter_block_init", Collective),
    ("MPI_Reduce_scatter_init", Collective),
    ("MPI_Request_free", Completion),
    ("MPI_Request_get_status", Completion),
    ("MPI_Request_get_status_all", Completion),
    ("MPI_Request_get_status_any", Completion),
    ("MPI_Request_get_status_some", Completion),
    ("MPI_Rget", OneSided),
    ("MPI_Rget_accumulate", OneSided),
    ("MPI_Rput", OneSided),
    ("MPI_Rsend", PointToPoint),
    ("MPI_Rsend_init", PointToPoint),
    ("MPI_Scan", Collective),
    ("MPI_Scan_init", Collective),
    ("MPI_Scatter", Collective),
    ("MPI_Scatter_init", Collective),
    ("MPI_Scatterv", Collective),
    ("MPI_Scatterv_init", Collective),
    ("MPI_Send", PointToPoint),
    ("MPI_Send_init", PointToPoint),
    ("MPI_Sendrecv", PointToPoint),
    ("MPI_Sendrecv_replace", PointToPoint),
    ("MPI_Session_attach_buffer", Management),
    ("MPI_Session_detach_buffer", Management),
    ("MPI_Session_finalize", Management),
    ("MPI_Session_flush_buffer", Completion),
    ("MPI_Session_iflush_buffer", Completion),
    ("MPI_Session_init", Management),
    ("MPI_Ssend", PointToPoint),
    ("MPI_Ssend_init", PointToPoint),
    ("MPI_Start", PointToPoint),
    ("MPI_Startall", PointToPoint),
    ("MPI_Test", Completion),
    ("MPI_Testall", Completion),
    ("MPI_Testany", Completion),
    ("MPI_Testsome", Completion),
    ("MPI_Type_commit", Management),
    ("MPI_Type_create_darray", Management),
    ("MPI_Type_create_struct", Management),
    ("MPI_Type_create_subarray", Management),
    ("MPI_Type_free", Management),
    ("MPI_Unpublish_name", Management),
    ("MPI_Wait", Completion),
    ("MPI_Waitall", Completion),
    ("MPI_Waitany", Completion),
    ("MPI_Waitsome", Completion),
    ("MPI_Win_allocate", OneSided),
    ("MPI_Win_allocate_shared", OneSided),
    ("MPI_Win_attach", OneSided),
    ("MPI_Win_complete", OneSided),
    ("MPI_Win_create", OneSided),
    ("MPI_Win_create_dynamic", OneSided),
    ("MPI_Win_detach", OneSided),
    ("MPI_Win_fence", OneSided),
    ("MPI_Win_flush", OneSided),
    ("MPI_Win_flush_all", OneSided),
    ("MPI_Win_flush_local", OneSided),
    ("MPI_Win_flush_local_all", OneSided),
    ("MPI_Win_free", OneSided),
    ("MPI_Win_lock", OneSided),
    ("MPI_Win_lock_all", OneSided),
    ("MPI_Win_post", OneSided),
    ("MPI_Win_start", OneSided),
    ("MPI_Win_sync", OneSided),
    ("MPI_Win_test", OneSided),
    ("MPI_Win_unlock", OneSided),
    ("MPI_Win_unlock_all", OneSided),
    ("MPI_Win_wait", OneSided),
];

/// The number of a function, from 1; 0 for one whose calls are not recorded.
#[must_use]
pub const fn number(name: &str) -> u16 {
    let (mut from, mut to) = (0, FUNCTIONS.len());
    while from < to {
        let middle = usize::midpoint(from, to);
        match order(name.as_bytes(), FUNCTIONS[middle].0.as_bytes()) {
            0 => return middle as u16 + 1,
            -1 => to = middle,
            _ => from = middle + 1,
        }
    }
    0
}

/// -1, 0 or 1: how two names compare.
const fn order(a: &[u8], b: &[u8]) -> i8 {
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return if a[at] < b[at] { -1 } else { 1 };
        }
        at += 1;
    }
    if a.len() == b.len() {
        0
    } else if a.len() < b.len() {
        -1
    } else {
        1
    }
}

/// The function of a number.
pub(crate) fn function(number: u16) -> Option<(&'static str, Class)> {
    FUNCTIONS.get(usize::from(number).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_its_number() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.0.as_bytes() < b.0.as_bytes()));
        for (name, class) in FUNCTIONS {
            assert_eq!(function(number(name)), Some((*name, *class)));
        }
        assert_eq!((number("MPI_Comm_rank"), number(""), number("MPI_Zzz")), (0, 0, 0));
        assert_eq!((function(0), function(u16::MAX)), (None, None));
    }

    /// What is neither recorded nor only asks or sets something here has been forgotten.
    #[test]
    fn no_function_that_communicates_is_forgotten() {
        let chapters = ["coll", "part", "dynamic"];
        let asks = ["MPI_Comm_get_parent"];
        let table = include_str!("../../../abi/functions.tsv");
        let mut seen = 0;
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            let (Some(chapter), Some(name)) = (fields.next(), fields.next()) else { continue };
            if chapters.contains(&chapter) && !asks.contains(&name) && !name.ends_with("_c") {
                seen += 1;
                assert_ne!(number(name), 0, "{name}");
            }
        }
        assert!(seen > 70, "{seen}");
    }
}
