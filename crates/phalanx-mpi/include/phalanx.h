/* What libmpi_abi.so.1 of Phalanx offers to programs beyond the standard: going on after
 * processes have failed, as the MPI Forum's fault tolerance group describes it for the
 * functions MPIX_Comm_*. Other libraries with the standard ABI lack these symbols. */
#ifndef PHALANX_H
#define PHALANX_H

#include <mpi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Error classes. A failed process is of class MPI_ERR_PROC_ABORTED. */
#define PHALANX_ERR_REVOKED              16001
#define PHALANX_ERR_PROC_FAILED_PENDING  16002

PHALANX_MPI_API int PHALANX_Comm_revoke(MPI_Comm comm);
PHALANX_MPI_API int PHALANX_Comm_is_revoked(MPI_Comm comm, int *flag);
PHALANX_MPI_API int PHALANX_Comm_get_failed(MPI_Comm comm, MPI_Group *failed);
PHALANX_MPI_API int PHALANX_Comm_ack_failed(MPI_Comm comm, int num_to_ack, int *num_acked);
PHALANX_MPI_API int PHALANX_Comm_agree(MPI_Comm comm, int *flag);
PHALANX_MPI_API int PHALANX_Comm_iagree(MPI_Comm comm, int *flag, MPI_Request *request);
PHALANX_MPI_API int PHALANX_Comm_shrink(MPI_Comm comm, MPI_Comm *newcomm);
PHALANX_MPI_API int PHALANX_Comm_ishrink(MPI_Comm comm, MPI_Comm *newcomm, MPI_Request *request);

#ifdef __cplusplus
}
#endif

#endif /* PHALANX_H */
