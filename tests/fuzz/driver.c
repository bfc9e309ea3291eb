/* Runs a fuzz target without a fuzzing engine, so that any compiler's build has the same check.
 *
 *     fuzz_NAME FOUND [FOLDER|FILE ...]
 *
 * First every kept input, those in the folder FOUND too, then, for NCT_FUZZ_SECONDS (2), changed ones: the
 * n-th is the same on every machine, made from the kept inputs by NCT_FUZZ_SEED (1) and n. The work is
 * done by a child; if it dies, or needs more than 20 seconds for an input, the input is written to
 * FOUND/failed, where the next run finds it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* With an address sanitizer, an input that makes its reader ask for half a gigabyte has failed. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "max_allocation_size_mb=512"; }

enum { INPUT_BYTES = 1 << 18, MAX_KEPT = 1024, INPUT_SECONDS = 20, ALARM_EVERY = 64 };

typedef struct input {
    uint8_t *data;
    size_t n;
} input;

static input kept[MAX_KEPT];
static size_t n_kept;

static struct running { /* shared with the parent */
    size_t n;
    uint8_t data[INPUT_BYTES];
} * running;

static void die(const char *what, const char *path) {
    fprintf(stderr, "fuzz: %s: ", path);
    perror(what);
    exit(1);
}

static void run_one(const uint8_t *data, size_t n) {
    running->n = n;
    memcpy(running->data, data, n);
    /* A copy of its own size, so that a sanitizer sees the first byte read past the end. */
    uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, data, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static void keep_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f)
        die("cannot be read", path);
    if (n_kept == MAX_KEPT) {
        fprintf(stderr, "fuzz: more than %d kept inputs\n", MAX_KEPT);
        exit(1);
    }
    input *in = &kept[n_kept++];
    in->data = malloc(INPUT_BYTES);
    in->n = fread(in->data, 1, INPUT_BYTES, f);
    if (!feof(f) && fgetc(f) != EOF) {
        fprintf(stderr, "fuzz: %s: larger than %d bytes\n", path, INPUT_BYTES);
        exit(1);
    }
    fclose(f);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void keep(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0)
        return; /* a target may have no kept input yet */
    if (!S_ISDIR(st.st_mode)) {
        keep_file(path);
        return;
    }
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, by_name); /* sorted: the same inputs in the same order everywhere */
    for (int i = 0; i < n; i++) {
        char file[1024];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            keep_file(file);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

/* ------------------------------------------------------------------ changes */

static uint64_t state;

static size_t below(size_t n) { /* a number in [0, n), n > 0 */
    state += 0x9e3779b97f4a7c15u;
    return (size_t)(nct_rng_mix(state) % n);
}

/* Copies n bytes of `from` into the input at `at`, replacing `gone` of its bytes. */
static size_t splice(uint8_t *data, size_t size, size_t at, size_t gone, const uint8_t *from, size_t n) {
    static uint8_t tail[INPUT_BYTES];
    size_t n_tail = size - at - gone;
    if (at + n + n_tail > INPUT_BYTES)
        return size;
    memcpy(tail, data + at + gone, n_tail);
    memmove(data + at, from, n); /* `from` may lie in `data` */
    memcpy(data + at + n, tail, n_tail);
    return at + n + n_tail;
}

static size_t change(uint8_t *data, size_t size) {
    static const uint64_t numbers[] = {0,
                                       1,
                                       2,
                                       7,
                                       16,
                                       31,
                                       64,
                                       127,
                                       128,
                                       255,
                                       256,
                                       0x7fff,
                                       0x8000,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       0x100000000,
                                       0x7fffffffffffffff,
                                       0x8000000000000000,
                                       0xffffffffffffffff};
    static const char *const words[] = {"9",
                                        "-1",
                                        "0",
                                        "4294967296",
                                        "18446744073709551615",
                                        "9223372036854775807",
                                        "1e999",
                                        "null",
                                        "true",
                                        "[",
                                        "]",
                                        "{",
                                        "}",
                                        "\"",
                                        "\\",
                                        "\\u0000",
                                        "\\ud800",
                                        ",",
                                        ":",
                                        "\xff",
                                        "\xe2\x96",
                                        "<|im_end|>"};
    size_t n_words = sizeof words / sizeof *words, n_numbers = sizeof numbers / sizeof *numbers;
    size_t at = below(size + 1), left = size - at;
    switch (below(9)) {
    case 0: /* a bit */
        if (left)
            data[at] ^= (uint8_t)(1u << below(8));
        return size;
    case 1: /* a byte */
        if (left)
            data[at] = (uint8_t)below(256);
        return size;
    case 2: { /* a little-endian number of 1, 2, 4 or 8 bytes, sometimes near the old one */
        size_t n = (size_t)1 << below(4);
        if (n > left)
            return size;
        uint64_t value = 0;
        memcpy(&value, data + at, n);
        value = below(2) ? numbers[below(n_numbers)] : value + below(33) - 16;
        memcpy(data + at, &value, n);
        return size;
    }
    case 3: /* cut a piece out */
        return splice(data, size, at, left ? 1 + below(left < 64 ? left : 64) : 0, data, 0);
    case 4: /* cut the end off */
        return at;
    case 5: { /* say a piece twice */
        size_t n = left ? below(left < 256 ? left : 256) : 0;
        return splice(data, size, below(size + 1), 0, data + at, n);
    }
    case 6: { /* a word, over what is there or between */
        const char *word = words[below(n_words)];
        size_t n = strlen(word), gone = below(2) && n <= left ? n : 0;
        return splice(data, size, at, gone, (const uint8_t *)word, n);
    }
    case 7: { /* another decimal number */
        while (at < size && (data[at] < '0' || data[at] > '9'))
            at++;
        size_t digits = 0;
        while (at + digits < size && data[at + digits] >= '0' && data[at + digits] <= '9')
            digits++;
        if (!digits)
            return size;
        char text[24];
        int n = snprintf(text, sizeof text, "%llu", (unsigned long long)numbers[below(n_numbers)]);
        return splice(data, size, at, digits, (const uint8_t *)text, (size_t)n);
    }
    default: { /* a piece of another kept input */
        const input *other = &kept[below(n_kept)];
        size_t from = below(other->n + 1), n = other->n - from;
        n = n ? below(n < 1024 ? n : 1024) : 0;
        return splice(data, size, at, below(2) && n <= left ? n : 0, other->data + from, n);
    }
    }
}

static long setting(const char *name, long fallback) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : fallback;
}

/* The child's part. */
static void run_all(const char *name) {
    size_t n_replayed = n_kept;
    if (!n_kept)
        kept[n_kept++] = (input){malloc(INPUT_BYTES), 0};
    for (size_t i = 0; i < n_kept; i++) {
        alarm(INPUT_SECONDS);
        run_one(kept[i].data, kept[i].n);
    }
    static uint8_t data[INPUT_BYTES];
    uint64_t seed = (uint64_t)setting("NCT_FUZZ_SEED", 1), n = 0;
    uint64_t end = nct_clock_ns() + (uint64_t)setting("NCT_FUZZ_SECONDS", 2) * 1000000000u;
    for (; nct_clock_ns() < end; n++) {
        if (n % ALARM_EVERY == 0)
            alarm(INPUT_SECONDS);
        state = nct_rng_mix(seed) + nct_rng_mix(n);
        const input *from = &kept[below(n_kept)];
        memcpy(data, from->data, from->n);
        size_t size = from->n;
        for (size_t changes = (size_t)1 << below(5); changes; changes--)
            size = change(data, size);
        run_one(data, size);
    }
    for (size_t i = 0; i < n_kept; i++)
        free(kept[i].data);
    printf("%s: %zu kept and %llu changed inputs\n", name, n_replayed, (unsigned long long)n);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOUND [FOLDER|FILE ...]\n", argv[0]);
        return 2;
    }
    running = mmap(NULL, sizeof *running, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (running == MAP_FAILED)
        die("cannot be shared", "the input");
    for (int i = 1; i < argc; i++)
        keep(argv[i]);

    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        die("fork", argv[0]);
    if (child == 0) {
        run_all(argv[0]);
        return 0;
    }
    for (size_t i = 0; i < n_kept; i++)
        free(kept[i].data);
    int status;
    if (waitpid(child, &status, 0) != child)
        die("wait", argv[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    char path[1024];
    snprintf(path, sizeof path, "%s/failed", argv[1]);
    FILE *f = fopen(path, "wb");
    if (!f || (running->n && fwrite(running->data, running->n, 1, f) != 1) || fclose(f) != 0)
        die("cannot be written", path);
    fprintf(stderr, "fuzz: %s on %zu bytes, kept in %s\n",
            WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "the sanitizer stopped", running->n, path);
    return 1;
}
