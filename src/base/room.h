/** How much memory there is for this process, and how it uses it. */
#ifndef NCT_BASE_ROOM_H
#define NCT_BASE_ROOM_H

#include <stdint.h>

typedef struct nct_room {
    uint64_t total_bytes; /* of the machine; 0: not known */
    uint64_t limit_bytes; /* that the control groups (v1 and v2, and those around them) allow; 0: no limit */
    uint64_t
        available_bytes; /* that can still be had without swapping, what files are cached in included; the least
                                 of the machine's and the groups'; UINT64_MAX: not known */
} nct_room;

/** root: as in group.h. */
void nct_room_find(const char *root, nct_room *room);

typedef struct nct_use {
    uint64_t anonymous_bytes; /* in memory and nobody else's: heap, copies, scratch, a cache in memory */
    uint64_t mapped_bytes;    /* of files in memory and mapped, which the system can let go */
} nct_use;

/** Of this process now; zeros where the system does not tell. */
void nct_use_find(nct_use *use);

#endif
