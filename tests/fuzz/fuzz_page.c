/* The record at the end of a page file. The input is the end of a file; its checksum is made to fit, so that what the
 * checks behind it say is seen too, and it is read as it came as well. The first eight bytes are the file's size. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t bytes[NCT_RECORD_BYTES], uint64_t file_bytes) {
    nct_record r, again;
    nct_error err;
    uint8_t written[NCT_RECORD_BYTES];
    if (nct_record_read(bytes, file_bytes, &r, &err) != NCT_OK)
        return;
    uint64_t sections = 0;
    for (size_t i = 0; i < NCT_RECORD_SECTIONS; i++)
        sections += r.section_bytes[i];
    if (r.n_tokens == 0 || r.n_tokens > r.n_positions || r.n_positions > NCT_RECORD_MAX_POSITIONS ||
        sections > r.payload_bytes ||
        nct_record_ids_off(&r) + 4 * (uint64_t)r.n_positions > nct_record_off(&r) ||
        nct_record_file_bytes(&r) != file_bytes || !(r.seconds >= 0))
        abort();
    nct_record_write(&r, written);
    if (nct_record_read(written, file_bytes, &again, &err) != NCT_OK ||
        memcmp(&r.name, &again.name, sizeof r.name) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t bytes[NCT_RECORD_BYTES] = {0};
    if (size < 8)
        return 0;
    uint64_t file_bytes = nct_le64(data);
    memcpy(bytes, data + 8, size - 8 < sizeof bytes ? size - 8 : sizeof bytes);
    check(bytes, file_bytes);
    uint64_t sum = nct_checksum(bytes, NCT_RECORD_BYTES - 8, 0);
    for (int i = 0; i < 8; i++)
        bytes[NCT_RECORD_BYTES - 8 + i] = (uint8_t)(sum >> 8 * i);
    check(bytes, file_bytes);
    return 0;
}
