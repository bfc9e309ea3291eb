#include <assert.h>

#include "format/torch.h"

static nct_status add_number(nct_bytes *out, uint64_t number, size_t n_bytes, nct_error *err) {
    uint8_t bytes[8];
    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
    return nct_bytes_add(out, bytes, n_bytes, err);
}

/* As Python's pickler does: a lone item by itself, else items in groups of up to 1,000. */
static nct_status write_pickle(const int32_t *ints, size_t n, nct_bytes *out, nct_error *err) {
    enum { GROUP = 1000 };
    NCT_TRY(nct_bytes_add(out, "\x80\x02]q\x00", 5, err));
    for (size_t i = 0; i < n; i++) {
        assert(ints[i] >= 0);
        if (n > 1 && i % GROUP == 0)
            NCT_TRY(nct_bytes_add(out, "(", 1, err));
        uint32_t u = (uint32_t)ints[i];
        NCT_TRY(nct_bytes_add(out, u < 256 ? "K" : u < 65536 ? "M" : "J", 1, err));
        NCT_TRY(add_number(out, u, u < 256 ? 1 : u < 65536 ? 2 : 4, err));
        if (n == 1)
            NCT_TRY(nct_bytes_add(out, "a", 1, err));
        else if (i % GROUP == GROUP - 1 || i + 1 == n)
            NCT_TRY(nct_bytes_add(out, "e", 1, err));
    }
    return nct_bytes_add(out, ".", 1, err);
}

/* The checksum of zip files, bit by bit: lists are small. */
static uint32_t crc32(const uint8_t *p, size_t n) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

/* What an entry's own header and the directory say alike: version, flags, method, time, checksum, sizes, lengths. */
static nct_status add_header(nct_bytes *out, const char *name, const nct_bytes *body, nct_error *err) {
    const uint16_t fields[] = {20, 0, 0, 0, 0x21}; /* stored; 1 January 1980 */
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        NCT_TRY(add_number(out, fields[i], 2, err));
    NCT_TRY(add_number(out, crc32((const uint8_t *)body->data, body->n), 4, err));
    NCT_TRY(add_number(out, body->n, 4, err));
    NCT_TRY(add_number(out, body->n, 4, err));
    NCT_TRY(add_number(out, strlen(name), 2, err));
    return add_number(out, 0, 2, err);
}

/* One entry, and its line of the directory. `base` is where the archive begins in `out`. */
static nct_status add_entry(nct_bytes *out, nct_bytes *directory, size_t base, const char *name,
                            const nct_bytes *body, nct_error *err) {
    size_t local = out->n - base;
    NCT_TRY(add_number(out, 0x04034b50, 4, err));
    NCT_TRY(add_header(out, name, body, err));
    NCT_TRY(nct_bytes_add_str(out, name, err));
    NCT_TRY(nct_bytes_add(out, body->data, body->n, err));
    NCT_TRY(add_number(directory, 0x02014b50, 4, err));
    NCT_TRY(add_number(directory, 20, 2, err));
    NCT_TRY(add_header(directory, name, body, err));
    NCT_TRY(add_number(directory, 0, 8, err)); /* comment, disk, attributes */
    NCT_TRY(add_number(directory, 0, 2, err));
    NCT_TRY(add_number(directory, local, 4, err));
    return nct_bytes_add_str(directory, name, err);
}

static nct_status write_archive(const nct_bytes *pickle, nct_bytes *out, nct_bytes *directory,
                                nct_error *err) {
    char little[] = "little", version[] = "3\n";
    const nct_bytes order = {.data = little, .n = 6}, third = {.data = version, .n = 2};
    size_t base = out->n;
    NCT_TRY(add_entry(out, directory, base, "archive/data.pkl", pickle, err));
    NCT_TRY(add_entry(out, directory, base, "archive/byteorder", &order, err));
    NCT_TRY(add_entry(out, directory, base, "archive/version", &third, err));
    size_t at = out->n - base;
    NCT_TRY(nct_bytes_add(out, directory->data, directory->n, err));
    NCT_TRY(add_number(out, 0x06054b50, 4, err));
    NCT_TRY(add_number(out, 0, 4, err)); /* disks */
    NCT_TRY(add_number(out, 3, 2, err));
    NCT_TRY(add_number(out, 3, 2, err));
    NCT_TRY(add_number(out, directory->n, 4, err));
    NCT_TRY(add_number(out, at, 4, err));
    return add_number(out, 0, 2, err); /* comment */
}

nct_status nct_torch_write_ints(const int32_t *ints, size_t n, nct_bytes *out, nct_error *err) {
    nct_bytes pickle = {0}, directory = {0};
    nct_status status = write_pickle(ints, n, &pickle, err);
    if (status == NCT_OK)
        status = write_archive(&pickle, out, &directory, err);
    nct_bytes_reset(&pickle);
    nct_bytes_reset(&directory);
    return status;
}
