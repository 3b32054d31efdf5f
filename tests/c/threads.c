/* Several threads of each rank send, receive and wait at the same time.
 * ranks: 1 2 3 */
#include "check.h"
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 200 };
static int wrong[THREADS];

static void *talk(void *argument)
{
    int me = (int)(long)argument, right = (rank + 1) % size, left = (rank + size - 1) % size;
    for (int i = 0; i < ROUNDS; i++) {
        int out = rank * 100000 + me * 1000 + i, in = -1;
        MPI_Request requests[2];
        if (MPI_Irecv(&in, 1, MPI_INT, left, me, MPI_COMM_WORLD, &requests[0]) ||
            MPI_Isend(&out, 1, MPI_INT, right, me, MPI_COMM_WORLD, &requests[1]) ||
            MPI_Waitall(2, requests, MPI_STATUSES_IGNORE) || in != left * 100000 + me * 1000 + i)
            wrong[me]++;
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    int flag;
    begin();
    for (long i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, talk, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(wrong[i] == 0);
    }
    OK(MPI_Is_thread_main(&flag));
    CHECK(flag);
    return finish();
}
