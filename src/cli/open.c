#include "cli/open.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/map.h"
#include "base/numa.h"
#include "base/pages.h"
#include "base/room.h"
#include "base/sha256.h"
#include "cli/host.h"
#include "cli/places.h"

/* ------------------------------------------------------------------ which model */

enum { N_FOLDERS = 5 };

/* Folder of the running program, "" if it cannot be told. */
static void program_folder(char *buf, size_t n_buf) {
    ssize_t n = readlink("/proc/self/exe", buf, n_buf - 1);
    buf[n > 0 ? n : 0] = 0;
    char *slash = strrchr(buf, '/');
    if (slash)
        *slash = 0;
}

/* The i-th models folder in buf; false if there is none. */
static bool models_folder(int i, char *buf, size_t n_buf) {
    static const char *const beside[] = {"../models", "../../models", "../share/noctule/models"};
    if (i == 0)
        return nct_place_path(NCT_PLACE_DATA, "models", buf, n_buf);
    if (i < 4) {
        char program[PATH_MAX];
        program_folder(program, sizeof program);
        return *program && nct_path_join(buf, n_buf, program, beside[i - 1]);
    }
    return snprintf(buf, n_buf, "models") < (int)n_buf;
}

/* A checkpoint is a folder with a config.json, a GGUF file or a bundle; *when is its time. */
static bool is_checkpoint(const char *path, struct timespec *when) {
    char config[PATH_MAX];
    struct stat what;
    if (stat(path, &what) != 0)
        return false;
    if (S_ISDIR(what.st_mode)) {
        if (!nct_path_join(config, sizeof config, path, "config.json") || stat(config, &what) != 0 ||
            !S_ISREG(what.st_mode))
            return false;
    } else if (!S_ISREG(what.st_mode) || (!nct_ends_with(path, ".gguf") && !nct_ends_with(path, ".nct"))) {
        return false;
    }
    *when = what.st_mtim;
    return true;
}

/* A draft head lies in a folder like a checkpoint's, but is none: its architecture's name says so. */
static bool is_head(const char *path) {
    static const char mark[] = "Eagle";
    char config[PATH_MAX];
    nct_map map;
    bool found = false;
    if (!nct_path_join(config, sizeof config, path, "config.json") || nct_map_open(config, &map, NULL) != NCT_OK)
        return false;
    for (size_t i = 0; i + sizeof mark - 1 <= map.n_bytes && !found; i++)
        found = memcmp(map.data + i, mark, sizeof mark - 1) == 0;
    nct_map_close(&map);
    return found;
}

/* The newest checkpoint in a folder; the first name among equals. */
static bool find_newest(const char *folder, char *best, size_t n_best) {
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    bool found = false;
    struct timespec newest = {0}, when;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[PATH_MAX];
        if (entry->d_name[0] == '.' || !nct_path_join(path, sizeof path, folder, entry->d_name) ||
            !is_checkpoint(path, &when) || is_head(path))
            continue;
        bool newer =
            when.tv_sec != newest.tv_sec ? when.tv_sec > newest.tv_sec : when.tv_nsec > newest.tv_nsec;
        bool equal = when.tv_sec == newest.tv_sec && when.tv_nsec == newest.tv_nsec;
        if (!found || newer || (equal && strcmp(path, best) < 0)) {
            if (snprintf(best, n_best, "%s", path) >= (int)n_best)
                continue;
            newest = when;
            found = true;
        }
    }
    closedir(dir);
    return found;
}

static int copy_path(const nct_cli *cli, const char *from, char **path) {
    nct_error err;
    return nct_copy_string(path, from, strlen(from), &err) == NCT_OK ? NCT_EXIT_OK
                                                                     : nct_say_status(cli, &err);
}

int nct_find_model(const nct_cli *cli, char **path) {
    const char *asked = cli->args.model;
    char folder[PATH_MAX], found[PATH_MAX];
    if (asked && access(asked, F_OK) == 0)
        return copy_path(cli, asked, path);
    for (int i = 0; i < N_FOLDERS; i++) {
        if (!models_folder(i, folder, sizeof folder))
            continue;
        if (!asked && find_newest(folder, found, sizeof found))
            return copy_path(cli, found, path);
        struct timespec when;
        if (asked && !strchr(asked, '/')) {
            if (nct_path_join(found, sizeof found, folder, asked) && is_checkpoint(found, &when))
                return copy_path(cli, found, path);
            static const char *const endings[] = {".nct", ".gguf"};
            for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
                char file[PATH_MAX];
                if (snprintf(file, sizeof file, "%s%s", asked, endings[e]) < (int)sizeof file &&
                    nct_path_join(found, sizeof found, folder, file) && is_checkpoint(found, &when))
                    return copy_path(cli, found, path);
            }
        }
    }
    if (!models_folder(0, folder, sizeof folder))
        snprintf(folder, sizeof folder, "models");
    const char *name = cli->command ? cli->command->name : "run";
    if (!asked)
        return nct_say_error(
            cli, NCT_EXIT_MODEL,
            "no model: neither -m nor NOCTULE_MODEL is set, and %s holds none\n"
            "try: noctule %s -m PATH ...    (a checkpoint directory, a GGUF file or a bundle)",
            folder, name);
    if (strchr(asked, '/'))
        return nct_say_error(cli, NCT_EXIT_MODEL, "no model at %s: %s", asked, strerror(ENOENT));
    return nct_say_error(cli, NCT_EXIT_MODEL, "no model '%s': it is neither a path nor a name in %s", asked,
                         folder);
}

/* ------------------------------------------------------------------ knobs */

enum {
    KEEP_MIN_MS = 2000, /* of a prompt that is kept without being asked for */
    KEEP_MIN_TOKENS = 1024,
};

/* A knob takes one of two words, the second of which is "on" .. */
static const struct {
    const char *key, *off, *on;
    size_t offset;
} switches[] = {
    {"exact", "0", "1", offsetof(nct_knobs, exact)},
    {"ctx.force", "0", "1", offsetof(nct_knobs, force_ctx)},
    {"sparse.decide", "row", "prompt", offsetof(nct_knobs, decide_by_prompt)},
    {"sparse.variant", "r2", "r1", offsetof(nct_knobs, r1)},
};

enum { N_SWITCHES = sizeof switches / sizeof *switches };

/* .. or a number. */
static const struct {
    const char *key;
    double low, high;
    const char *expected;
    size_t offset; /* of an int64_t */
} numbers[] = {
    {"numa.pretend", 1, NCT_NODES_MAX, "numa.pretend=1 to 64", offsetof(nct_knobs, made_up_nodes)},
    {"spec.width", 1, 16, "spec.width=1 to 16", offsetof(nct_knobs, guess_width)},
    {"spec.window", 1, 1 << 20, "spec.window=1 to 1m", offsetof(nct_knobs, draft_window)},
    {"spec.rows", 1, 1 << 20, "spec.rows=1 to 1m", offsetof(nct_knobs, draft_rows)},
    {"prefill.chunk", 1, 4096, "prefill.chunk=1 to 4096", offsetof(nct_knobs, chunk)},
    {"sparse.topk", 1, 4096, "sparse.topk=1 to 4096", offsetof(nct_knobs, topk)},
    {"sparse.block", 16, 4096, "sparse.block=16 to 4096", offsetof(nct_knobs, block)},
    {"sparse.window", 16, 1 << 20, "sparse.window=16 to 1048576", offsetof(nct_knobs, window)},
    {"sparse.dense_len", 1, 1 << 30, "sparse.dense_len=1 to 1073741824", offsetof(nct_knobs, dense_len)},
    {"cache.max", 1, 9e15, "cache.max=SIZE, as 5g or 500m", offsetof(nct_knobs, cache_max)},
    {"cache.min_ms", 0, 1e9, "cache.min_ms=N", offsetof(nct_knobs, cache_min_ms)},
};

/* .. which may have a fraction .. */
static const struct {
    const char *key;
    size_t offset; /* of a double */
} reals[] = {
    {"spec.residual_scale", offsetof(nct_knobs, residual_scale)},
    {"spec.logit_scale", offsetof(nct_knobs, logit_scale)},
};

/* .. or one of three words. */
static const struct {
    const char *key, *words[3], *expected;
    size_t offset; /* of an int: the word's place */
} choices[] = {
    {"hugepages", {"auto", "on", "off"}, "hugepages=auto, on or off", offsetof(nct_knobs, huge)},
    {"head", {"stored", "int8", "int4"}, "head=stored, int8 or int4", offsetof(nct_knobs, head)},
    {"spec.weights", {"int8", "stored", "int4"}, "spec.weights=int8, stored or int4", offsetof(nct_knobs, draft_weights)},
};

enum {
    N_NUMBERS = sizeof numbers / sizeof *numbers,
    N_REALS = sizeof reals / sizeof *reals,
    N_CHOICES = sizeof choices / sizeof *choices,
};
_Static_assert(NCT_NODES_MAX == 64, "what numa.pretend says it takes");

static int refuse_knob(const nct_cli *cli, const char *key) {
    const char *keys[N_NUMBERS + N_REALS + N_CHOICES + N_SWITCHES];
    size_t n_keys = 0, n = 0;
    char all[512] = "";
    for (size_t i = 0; i < N_CHOICES; i++)
        keys[n_keys++] = choices[i].key;
    for (size_t i = 0; i < N_NUMBERS; i++)
        keys[n_keys++] = numbers[i].key;
    for (size_t i = 0; i < N_REALS; i++)
        keys[n_keys++] = reals[i].key;
    for (size_t i = 0; i < N_SWITCHES; i++)
        keys[n_keys++] = switches[i].key;
    for (size_t i = 0; i < n_keys && n < sizeof all; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", keys[i]);
    const char *near = nct_nearest(key, keys, n_keys);
    return nct_say_error(cli, NCT_EXIT_USAGE, "-X has no key '%s'\nit has: %s%s%s", key, all,
                         near ? "\ntry: -X " : "", near ? near : "");
}

static int take_choice(const nct_cli *cli, size_t which, const char *value, nct_knobs *knobs) {
    for (int i = 0; i < 3; i++)
        if (strcmp(value, choices[which].words[i]) == 0) {
            *(int *)(void *)((char *)knobs + choices[which].offset) = i;
            return NCT_EXIT_OK;
        }
    return nct_say_error(cli, NCT_EXIT_USAGE, "-X %s=%s: expected %s", choices[which].key, value,
                         choices[which].expected);
}

static int take_real(const nct_cli *cli, size_t which, const char *value, nct_knobs *knobs) {
    double *number = (double *)(void *)((char *)knobs + reals[which].offset);
    if (nct_parse_real(value, number) && *number > 0 && *number <= 1e6)
        return NCT_EXIT_OK;
    return nct_say_error(cli, NCT_EXIT_USAGE, "-X %s=%s: expected a number above 0", reals[which].key, value);
}

static int take_knob(const nct_cli *cli, const char *knob, nct_knobs *knobs) {
    const char *equals = strchr(knob, '=');
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)(equals ? equals - knob : (ptrdiff_t)strlen(knob)), knob);
    const char *value = equals ? equals + 1 : "";
    for (size_t i = 0; i < N_CHOICES; i++)
        if (strcmp(key, choices[i].key) == 0)
            return take_choice(cli, i, value, knobs);
    for (size_t i = 0; i < N_REALS; i++)
        if (strcmp(key, reals[i].key) == 0)
            return take_real(cli, i, value, knobs);
    for (size_t i = 0; i < N_NUMBERS; i++) {
        if (strcmp(key, numbers[i].key) != 0)
            continue;
        if (nct_parse_count(value, numbers[i].low, numbers[i].high,
                            (int64_t *)(void *)((char *)knobs + numbers[i].offset)))
            return NCT_EXIT_OK;
        return nct_say_error(cli, NCT_EXIT_USAGE, "-X %s: expected %s", knob, numbers[i].expected);
    }
    for (size_t i = 0; i < N_SWITCHES; i++) {
        if (strcmp(key, switches[i].key) != 0)
            continue;
        bool on = strcmp(value, switches[i].on) == 0;
        if (!on && strcmp(value, switches[i].off) != 0)
            return nct_say_error(cli, NCT_EXIT_USAGE, "-X %s: expected %s=%s or %s=%s", knob, key,
                                 switches[i].off, key, switches[i].on);
        *(bool *)((char *)knobs + switches[i].offset) = on;
        return NCT_EXIT_OK;
    }
    return refuse_knob(cli, key);
}

int nct_check_knob(const nct_cli *cli, const char *knob) {
    nct_knobs scratch = {0};
    return take_knob(cli, knob, &scratch);
}

int nct_take_knobs(const nct_cli *cli, nct_knobs *knobs) {
    *knobs = (nct_knobs){.cache_min_ms = KEEP_MIN_MS};
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < cli->args.knobs.n && code == NCT_EXIT_OK; i++)
        code = take_knob(cli, cli->args.knobs.item[i], knobs);
    return code;
}

/* ------------------------------------------------------------------ engine and session */

/* What the engine refuses is the model's fault, unless the options asked for it or memory ran out. */
static int say_open_error(const nct_cli *cli, const nct_error *err) {
    if (err->status == NCT_E_ARGUMENT)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s", err->text);
    if (err->status == NCT_E_MEMORY)
        return nct_say_error(cli, NCT_EXIT_FAILURE, "%s", err->text);
    return nct_say_error(cli, NCT_EXIT_MODEL, "%s", err->text);
}

/* The flags; else what an earlier measurement found; else 0, which leaves it to the engine. True if measured. */
static bool choose_threads(const nct_args *a, int *threads, int *threads_batch) {
    nct_host host;
    bool kept = a->threads == NCT_UNSET && nct_host_read(&host);
    *threads = a->threads != NCT_UNSET ? (int)a->threads : kept ? host.threads : 0;
    *threads_batch = a->threads_batch != NCT_UNSET ? (int)a->threads_batch : kept ? host.threads_batch : 0;
    return kept;
}

bool nct_copied_line(const nct_model_info *info, char *buf, size_t n_buf) {
    if (info->copied_bytes)
        snprintf(buf, n_buf, "%s of weights are a copy of this process's own; %s of its memory in huge pages",
                 NCT_BYTES(info->copied_bytes), NCT_BYTES(nct_pages_huge_bytes()));
    return info->copied_bytes > 0;
}

/* What was asked for and is not so, and what costs memory. */
static void tell_memory(const nct_cli *cli, const nct_knobs *knobs, const nct_model_info *info) {
    const char *system = nct_pages_huge_system();
    char line[160];
    if (knobs->huge == NCT_HUGE_ON && !*system)
        nct_say_warning(cli, "-X hugepages=on does nothing: this system has no transparent huge pages");
    else if (knobs->huge == NCT_HUGE_ON && strcmp(system, "never") == 0)
        nct_say_warning(cli,
                        "-X hugepages=on does nothing: /sys/kernel/mm/transparent_hugepage/enabled is never");
    if (nct_copied_line(info, line, sizeof line))
        nct_say_note(cli, "%s", line);
}

static int take_numa(const nct_cli *cli, nct_engine_options *options) {
    static const char *const words[] = {"auto", "off", NULL, "shard"}; /* nct_numa_mode */
    const char *asked = cli->args.numa;
    int64_t node;
    if (!asked)
        return NCT_EXIT_OK;
    if (strncmp(asked, "node=", 5) == 0 && nct_parse_count(asked + 5, 0, INT_MAX, &node)) {
        options->numa = NCT_NUMA_NODE;
        options->numa_node = (int)node;
        return NCT_EXIT_OK;
    }
    for (int i = 0; i < 4; i++)
        if (words[i] && strcmp(asked, words[i]) == 0) {
            options->numa = (nct_numa_mode)i;
            return NCT_EXIT_OK;
        }
    return nct_say_error(cli, NCT_EXIT_USAGE, "--numa wants auto, off, node=N or shard, got '%.60s'", asked);
}

int nct_open_model(const nct_cli *cli, bool text_only, nct_engine **engine, nct_model_info *info) {
    const nct_args *a = &cli->args;
    nct_knobs knobs;
    char *path = NULL;
    int code = nct_take_knobs(cli, &knobs);
    if (code == NCT_EXIT_OK)
        code = nct_find_model(cli, &path);
    if (code != NCT_EXIT_OK)
        return code;
    int threads = 1, threads_batch = 1;
    bool kept = !text_only && choose_threads(a, &threads, &threads_batch);
    nct_engine_options options = {.isa = a->isa,
                                  .n_threads = threads,
                                  .n_threads_batch = threads_batch,
                                  .exact = knobs.exact,
                                  .force_threads = a->force_threads,
                                  .text_only = text_only,
                                  .huge_pages = (nct_huge_pages)knobs.huge,
                                  .head = (nct_head)knobs.head,
                                  .numa_made_up = (int)knobs.made_up_nodes};
    if ((code = take_numa(cli, &options)) != NCT_EXIT_OK) {
        nct_free(path);
        return code;
    }
    nct_error err = {0};
    if (nct_engine_open(path, &options, engine, &err) != NCT_OK)
        code = say_open_error(cli, &err);
    nct_free(path);
    if (code != NCT_EXIT_OK)
        return code;
    nct_engine_info(*engine, info);
    if (info->n_threads < threads || info->n_threads_batch < threads_batch) {
        int asked = threads > threads_batch ? threads : threads_batch, usable = nct_cpu_usable();
        nct_say_warning(
            cli, "%d threads asked, this process may use %d; going on with %d    (--force-threads keeps %d)",
            asked, usable, usable, asked);
    }
    if (info->warning)
        nct_say_warning(cli, "%s", info->warning);
    if (!text_only)
        tell_memory(cli, &knobs, info);
    if (!text_only && knobs.head && !info->rounded)
        nct_say_warning(cli, "-X head does nothing: the output matrix is held as %s", info->head);
    if (!nct_numa_is_built_in() && !text_only && options.numa >= NCT_NUMA_NODE)
        nct_say_warning(cli, "--numa %s does nothing: this build is without libnuma", a->numa);
    if (a->verbose && !text_only)
        nct_say_note(cli, "%s: %s, %s, %s parameters, %s in memory, %d/%d threads (prefill/decode%s), %s, %s",
                     info->path, info->architecture, info->weights, NCT_N(info->n_parameters),
                     NCT_BYTES(info->weight_bytes), info->n_threads_batch, info->n_threads,
                     kept ? ", as measured on this host" : "", info->isa, info->numa);
    return NCT_EXIT_OK;
}

static nct_kv cache_type(int64_t own, int64_t both) {
    int64_t type = own != NCT_UNSET ? own : both;
    return type == NCT_UNSET ? NCT_KV_AUTO : (nct_kv)(NCT_KV_FLOAT32 + type);
}

/* --kv-dir names a folder, in which the cache lies whatever memory there is. */
static bool names_folder(const nct_args *a) { return a->kv_dir && strcmp(a->kv_dir, "auto") != 0; }

bool nct_pages_folder(const nct_cli *cli, char *buf, size_t n_buf) {
    if (names_folder(&cli->args))
        return snprintf(buf, n_buf, "%s", cli->args.kv_dir) < (int)n_buf;
    return nct_place_path(NCT_PLACE_CACHE, "kv", buf, n_buf);
}

static void notice(void *context, nct_notice kind, const char *text) {
    const nct_cli *cli = context;
    if (kind == NCT_NOTICE_WARNING) {
        nct_say_warning(cli, "%s", text);
    } else { /* whoever's text it is should know, terminal or not */
        nct_say_notice(cli,
                       "what was read of the prompt is kept in %s, for prompts that begin alike    "
                       "(--cache off: never; noctule cache rm --all)",
                       text);
    }
}

void nct_take_pages(const nct_cli *cli, const nct_knobs *knobs, char *folder, size_t n_folder, nct_session_options *o) {
    static const nct_keep keep[] = {NCT_KEEP_ALL, NCT_KEEP_OFF, NCT_KEEP_TAKE};
    const nct_args *a = &cli->args;
    uint64_t command = cli->command ? cli->command->bit : NCT_CMD_RUN;
    bool whole = command == NCT_CMD_CACHE_WARM || a->session || a->go_on || /* a named session is kept whole .. */
                 (command == NCT_CMD_BATCH && names_folder(a)); /* .. and in a named folder whatever is common */
    if (a->dry_run)
        o->kv_folder = NULL;
    if (a->dry_run || !(command & (NCT_CMD_RUN | NCT_CMD_CHAT | NCT_CMD_SUM | NCT_CMD_CACHE_WARM | NCT_CMD_BATCH)) ||
        !nct_pages_folder(cli, folder, n_folder))
        return;
    o->kv_folder = folder;
    o->keep = a->cache == NCT_UNSET ? NCT_KEEP_ALL : keep[a->cache];
    o->kv_max_bytes = (uint64_t)knobs->cache_max;
    o->kv_min_s = whole ? 0 : (double)knobs->cache_min_ms * 1e-3;
    o->kv_min_tokens = whole ? 0 : KEEP_MIN_TOKENS;
    o->notice = notice;
    o->notice_context = (void *)(uintptr_t)cli;
}

nct_session_options nct_take_session(const nct_cli *cli, const nct_knobs *knobs) {
    const nct_args *a = &cli->args;
    return (nct_session_options){.force_ctx = knobs->force_ctx,
                                 .rope = a->rope == NCT_UNSET ? NCT_ROPE_AUTO : (nct_rope_mode)a->rope,
                                 .chunk = (int)knobs->chunk,
                                 .keys = cache_type(a->keys, a->kv),
                                 .values = cache_type(a->values, a->kv),
                                 .sparse =
                                     a->sparse == NCT_UNSET ? NCT_SPARSE_AUTO : (nct_sparse_mode)a->sparse,
                                 .kv_folder = names_folder(a) ? a->kv_dir : NULL,
                                 .kv_mapped = names_folder(a),
                                 .decide_by_prompt = knobs->decide_by_prompt,
                                 .sparse_r1 = knobs->r1,
                                 .sparse_topk = (int)knobs->topk,
                                 .sparse_block = (int)knobs->block,
                                 .sparse_window = (int)knobs->window,
                                 .sparse_dense_len = (int)knobs->dense_len};
}

size_t nct_window(const nct_cli *cli, const nct_model_info *info) {
    bool native = cli->args.rope == NCT_ROPE_NATIVE || info->long_positions == 0;
    return (size_t)(native ? info->max_positions : info->long_positions);
}

size_t nct_answer_reserve(const nct_cli *cli) {
    enum { RESERVE = 1024 };
    return cli->args.max_tokens == NCT_UNSET ? RESERVE : (size_t)cli->args.max_tokens;
}

/* What is left for a cache in memory. Weights that are mapped need not stay there, only it is slow without them: they
 * give way to a cache, but only for a quarter of what there is. Weights in memory are not available any more. */
static uint64_t room_for_cache(const nct_args *a, const nct_model_info *info) {
    nct_room room;
    if (a->memory != NCT_UNSET) {
        uint64_t weights = info->weight_bytes + info->draft_bytes;
        return (uint64_t)a->memory > weights ? (uint64_t)a->memory - weights : 0;
    }
    nct_room_find("", &room);
    uint64_t left = room.available_bytes > info->mapped_bytes ? room.available_bytes - info->mapped_bytes : 0;
    if (left < room.available_bytes / 4)
        left = room.available_bytes / 4;
    return left / 10 * 8;
}

uint64_t nct_cache_room(const nct_cli *cli, const nct_model_info *info) { return room_for_cache(&cli->args, info); }

/* What a session of so many tokens needs, and what there is. */
typedef struct need {
    size_t n_tokens;
    uint64_t bytes, room;
    nct_model_info info;
} need;

static bool suffices(const nct_cli *cli, nct_engine *engine, const nct_session *session, size_t n, need *k) {
    size_t limit = (size_t)nct_session_limit(session);
    nct_report report;
    nct_session_report(session, &report);
    nct_engine_info(engine, &k->info);
    k->n_tokens = n < limit ? n : limit;
    k->bytes = nct_session_cache_bytes(session, k->n_tokens);
    k->room = room_for_cache(&cli->args, &k->info);
    if (cli->args.memory == NCT_UNSET) /* what it has already is not available any more */
        k->room += report.kv_bytes;
    return k->bytes <= k->room;
}

static int refuse_cache(const nct_cli *cli, const need *k) {
    bool asked = cli->args.memory != NCT_UNSET;
    return nct_say_error(
        cli, NCT_EXIT_FAILURE,
        "a cache of %s tokens takes %s; %s of %s are left for it beside %s of weights\n"
        "try: --kv-dir auto    (keeps it in files then; --kv-dir DIR: always, and there)%s%s",
        NCT_N(k->n_tokens), NCT_BYTES(k->bytes), NCT_BYTES(k->room), asked ? "--mem" : "memory",
        NCT_BYTES(k->info.weight_bytes + k->info.draft_bytes),
        cli->args.kv == NCT_KV_INT8 - NCT_KV_FLOAT32 ? "" : "\n     --kv q8    (takes about half)",
        asked ? "" : "\n     --mem SIZE    (what weights and cache may take)");
}

int nct_check_room(const nct_cli *cli, nct_engine *engine, const nct_session *session, size_t n_tokens) {
    need k;
    return nct_session_is_mapped(session) || suffices(cli, engine, session, n_tokens, &k)
               ? NCT_EXIT_OK
               : refuse_cache(cli, &k);
}

int nct_find_room(const nct_cli *cli, nct_engine *engine, size_t n_tokens, const nct_session_options *options,
                  nct_session **session) {
    char folder[PATH_MAX];
    need k;
    nct_error err = {0};
    if (options->kv_mapped || cli->args.dry_run || suffices(cli, engine, *session, n_tokens, &k))
        return NCT_EXIT_OK;
    nct_session_close(*session);
    *session = NULL;
    if (!cli->args.kv_dir || !nct_pages_folder(cli, folder, sizeof folder))
        return refuse_cache(cli, &k);
    nct_session_options in_files = *options;
    in_files.kv_folder = folder;
    in_files.kv_mapped = true;
    if (nct_session_open(engine, &in_files, session, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    /* whose text lies on the disk then should know: terminal or not */
    nct_say_notice(cli, "a cache of %s tokens takes %s, and %s are left for it: it is kept in files in %s",
                   NCT_N(k.n_tokens), NCT_BYTES(k.bytes), NCT_BYTES(k.room), folder);
    return NCT_EXIT_OK;
}

/* Who guesses, if anybody does: --drafter, or what --draft says. */
static int take_drafter(const nct_cli *cli, const nct_knobs *knobs, nct_engine *engine, bool guesses,
                        const char **drafter) {
    enum { AUTO, EAGLE, NGRAM, MODEL, OFF };
    const nct_args *a = &cli->args;
    int64_t asked = a->drafter == NCT_UNSET ? AUTO : a->drafter;
    nct_error err;
    if ((asked == EAGLE || asked == MODEL) && !a->draft)
        return nct_say_error(cli, NCT_EXIT_USAGE, "--drafter %s needs a %s\ntry: --draft %s",
                             asked == EAGLE ? "eagle" : "model", asked == EAGLE ? "head" : "small model",
                             asked == EAGLE ? "DIR" : "PATH");
    if ((a->freq || a->prompt_rows) && !a->draft)
        return nct_say_error(cli, NCT_EXIT_USAGE, "--%s says what a head scores, and there is none\ntry: --draft DIR",
                             a->freq ? "freq" : "prompt-rows");
    *drafter = asked == OFF ? "off" : asked == AUTO ? "auto" : "ngram";
    if (!a->draft || asked == NGRAM || asked == OFF || !guesses)
        return NCT_EXIT_OK;
    nct_draft_source source = {.path = a->draft,
                               .list = a->freq,
                               .n_list = (int)knobs->draft_rows,
                               .window = (int)knobs->draft_window,
                               .weights = (nct_draft_weights)knobs->draft_weights,
                               .residual_scale = knobs->residual_scale,
                               .logit_scale = knobs->logit_scale};
    if (!nct_engine_drafter(engine) && nct_engine_load_draft(engine, &source, &err) != NCT_OK)
        return err.status == NCT_E_ARGUMENT ? nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text)
                                            : nct_say_status(cli, &err);
    const char *loaded = nct_engine_drafter(engine);
    bool is_model = strcmp(loaded, "model") == 0;
    if (asked != AUTO && is_model != (asked == MODEL))
        return nct_say_error(cli, NCT_EXIT_USAGE, "--drafter %s, but %s is %s", is_model ? "eagle" : "model", a->draft,
                             is_model ? "a whole model\ntry: --drafter model" : "a draft head\ntry: --drafter eagle");
    if (asked != AUTO)
        *drafter = loaded;
    return NCT_EXIT_OK;
}

int nct_take_spec(const nct_cli *cli, nct_engine *engine, const nct_knobs *knobs, nct_session_options *options) {
    const nct_args *a = &cli->args;
    int64_t n = 0;
    bool answers = cli->command && (cli->command->bit & (NCT_CMD_RUN | NCT_CMD_CHAT | NCT_CMD_BATCH));
    if (a->spec ? strcmp(a->spec, "auto") == 0 : answers || a->draft)
        n = NCT_GUESS_AUTO;
    else if (a->spec && strcmp(a->spec, "off") != 0 && !nct_parse_count(a->spec, 1, 64, &n))
        return nct_say_error(cli, NCT_EXIT_USAGE, "--spec %s: expected auto, off or a number from 1 to 64", a->spec);
    options->n_guess = (int)n;
    options->prompt_rows = a->prompt_rows;
    options->guess_width = (int)knobs->guess_width;
    return take_drafter(cli, knobs, engine, n == NCT_GUESS_AUTO || n > 1, &options->drafter);
}

/* What is learned of guessing holds for a model, its threads and instruction set, and who guesses. */
static void name_learned(const nct_cli *cli, const nct_engine *engine, char buf[32]) {
    nct_model_info m;
    nct_bytes key = {0};
    uint8_t digest[NCT_SHA256_BYTES];
    nct_engine_info(engine, &m);
    bool alone = cli->args.drafter != NCT_UNSET && cli->args.drafter > 0;
    nct_bytes_printf(&key, NULL, "%s|%s|%d|%d|%d|%s|%d|%s", m.name, m.weights, m.n_layers, m.hidden, m.n_vocab, m.isa,
                     m.n_threads, nct_engine_drafter(engine) ? cli->args.draft : "ngram");
    if (nct_engine_drafter(engine) && !alone)
        nct_bytes_add_str(&key, "+ngram", NULL);
    if (cli->args.freq)
        nct_bytes_printf(&key, NULL, "|%s", cli->args.freq);
    for (size_t i = 0; i < cli->args.knobs.n; i++)
        if (strncmp(cli->args.knobs.item[i], "spec.", 5) == 0)
            nct_bytes_printf(&key, NULL, "|%s", cli->args.knobs.item[i]);
    nct_sha256_of(key.data, key.n, digest);
    nct_bytes_reset(&key);
    snprintf(buf, 32, "spec-%02x%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3], digest[4],
             digest[5]);
}

void nct_keep_learned(const nct_cli *cli, const nct_engine *engine, const nct_session *session) {
    char name[32], *text;
    size_t n;
    nct_bytes bytes = {0};
    if (cli->args.cache > 0 || nct_session_learned(session, &text, &n, NULL) != NCT_OK || !text)
        return;
    name_learned(cli, engine, name);
    if (nct_bytes_add(&bytes, text, n, NULL) == NCT_OK)
        nct_host_store(name, &bytes); /* where it cannot be, the next session learns again */
    nct_bytes_reset(&bytes);
    nct_free(text);
}

static void take_learned(const nct_cli *cli, const nct_engine *engine, nct_bytes *text, nct_session_options *options) {
    char name[32];
    if (options->n_guess != NCT_GUESS_AUTO || cli->args.cache == 1)
        return;
    name_learned(cli, engine, name);
    if (!nct_host_load(name, text))
        return;
    options->learned = text->data;
    options->n_learned = text->n;
}

int nct_open_session(const nct_cli *cli, nct_engine *engine, size_t n_expected, nct_session **session) {
    nct_knobs knobs;
    int code = nct_take_knobs(cli, &knobs);
    if (code != NCT_EXIT_OK)
        return code;
    int64_t ctx = cli->args.ctx;
    nct_model_info info;
    nct_engine_info(engine, &info);
    size_t window = nct_window(cli, &info);
    if (ctx != NCT_UNSET && (size_t)ctx > window && !knobs.force_ctx)
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "-c %s is more than %s holds%s: %s tokens\n"
            "try: -c %zu%s\n     -X ctx.force=1    (quality beyond the model's window is not promised)",
            NCT_N((uint64_t)ctx), info.name,
            window > (size_t)info.max_positions ? " with its long RoPE list" : "", NCT_N(window), window,
            window < (size_t)info.long_positions ? "\n     --rope long" : "");
    nct_session_options options = nct_take_session(cli, &knobs);
    code = nct_take_spec(cli, engine, &knobs, &options);
    if (code != NCT_EXIT_OK)
        return code;
    char folder[PATH_MAX];
    nct_take_pages(cli, &knobs, folder, sizeof folder, &options);
    bool beyond = ctx == NCT_UNSET && knobs.force_ctx && n_expected > window && n_expected <= INT_MAX;
    options.n_ctx = beyond ? (int)n_expected : ctx == NCT_UNSET ? 0 : (int)ctx;
    bool growing = cli->command && cli->command->bit == NCT_CMD_CHAT &&
                   cli->args.kv_dir; /* while it can be told where to */
    options.n_expected = n_expected > INT_MAX ? INT_MAX : (int)n_expected;
    if (options.sparse == NCT_SPARSE_ON && !info.sparse_trained)
        nct_say_warning(cli, "%s was not trained for sparse attention; --sparse on does it all the same",
                        info.name);
    nct_error err = {0};
    nct_bytes learned = {0};
    take_learned(cli, engine, &learned, &options);
    if (nct_session_open(engine, &options, session, &err) != NCT_OK)
        code = err.status == NCT_E_ARGUMENT ? nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text)
                                            : nct_say_status(cli, &err);
    else
        code = nct_find_room(cli, engine, ctx != NCT_UNSET && growing ? (size_t)ctx : n_expected, &options,
                             session);
    nct_bytes_reset(&learned);
    if (code != NCT_EXIT_OK)
        return code;
    if (options.rope == NCT_ROPE_AUTO && nct_session_is_long(*session))
        nct_say_note(
            cli, "%s holds %s tokens; using its long RoPE list, which holds %s    (--rope native does not)",
            info.name, NCT_N((uint64_t)info.max_positions), NCT_N((uint64_t)info.long_positions));
    return NCT_EXIT_OK;
}

int nct_take_width(const nct_cli *cli, size_t *width) {
    const char *text = cli->args.parallel;
    int64_t n = 0;
    if (text && strcmp(text, "auto") != 0 && !nct_parse_count(text, 1, NCT_BATCHER_MAX, &n))
        return nct_say_error(cli, NCT_EXIT_USAGE, "-np %s: expected auto or a number from 1 to %d", text,
                             NCT_BATCHER_MAX);
    *width = (size_t)n;
    return NCT_EXIT_OK;
}

int nct_open_batcher(const nct_cli *cli, nct_engine *engine, char *folder, size_t n_folder,
                     nct_batcher_options *o, nct_batcher **batcher) {
    nct_knobs knobs;
    nct_error err = {0};
    int code = nct_take_knobs(cli, &knobs);
    if (code != NCT_EXIT_OK)
        return code;
    o->session = nct_take_session(cli, &knobs);
    nct_take_pages(cli, &knobs, folder, n_folder, &o->session);
    o->session.kv_mapped = false; /* the folder is for what is common, and for what exceeds memory */
    code = nct_take_spec(cli, engine, &knobs, &o->session);
    if (code != NCT_EXIT_OK)
        return code;
    o->session.n_ctx = cli->args.ctx == NCT_UNSET ? 0 : (int)cli->args.ctx;
    if (nct_batcher_open(engine, o, batcher, &err) != NCT_OK)
        return err.status == NCT_E_ARGUMENT || err.status == NCT_E_CONTEXT
                   ? nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text)
                   : nct_say_status(cli, &err);
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ sampling */

uint64_t nct_draw_seed(void) {
    uint32_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint32_t)nct_clock_ns();
    return seed;
}

static int take_biases(const nct_cli *cli, const nct_engine *engine, nct_sampling *s, void **bias) {
    size_t n = cli->args.biases.n;
    nct_model_info info;
    nct_engine_info(engine, &info);
    nct_error err;
    if (n == 0)
        return NCT_EXIT_OK;
    if (nct_alloc(bias, n, sizeof(int32_t) + sizeof(float), &err) != NCT_OK)
        return nct_say_status(cli, &err);
    float *value = *bias;
    int32_t *id = (int32_t *)(value + n);
    for (size_t i = 0; i < n; i++) {
        const char *text = cli->args.biases.item[i], *equals = strchr(text, '=');
        char number[32];
        int64_t token;
        double x = 0;
        snprintf(number, sizeof number, "%.*s", (int)(equals && equals - text < 24 ? equals - text : 0),
                 text);
        if (!nct_parse_count(number, 0, INT_MAX, &token) ||
            (!nct_parse_real(equals + 1, &x) && strcmp(equals + 1, "-inf") != 0))
            return nct_say_error(cli, NCT_EXIT_USAGE,
                                 "--logit-bias wants ID=X, got '%.60s'\ntry: --logit-bias 72=-inf    "
                                 "(noctule tokenize shows ids)",
                                 text);
        if (token >= info.n_vocab)
            return nct_say_error(cli, NCT_EXIT_USAGE, "--logit-bias names token %lld of a vocabulary of %d",
                                 (long long)token, info.n_vocab);
        id[i] = (int32_t)token;
        value[i] = strcmp(equals + 1, "-inf") == 0 ? -INFINITY : (float)x;
    }
    s->n_bias = (int)n;
    s->bias_id = id;
    s->bias_value = value;
    return NCT_EXIT_OK;
}

int nct_take_sampling(const nct_cli *cli, const nct_engine *engine, nct_sampling *s, void **bias) {
    const nct_args *a = &cli->args;
    nct_engine_sampling(engine, s);
    if (!isnan(a->temperature))
        s->temperature = a->temperature;
    if (!isnan(a->top_p))
        s->top_p = a->top_p;
    if (!isnan(a->min_p))
        s->min_p = a->min_p;
    if (!isnan(a->repeat_penalty))
        s->repeat_penalty = a->repeat_penalty;
    if (!isnan(a->presence_penalty))
        s->presence_penalty = a->presence_penalty;
    if (!isnan(a->frequency_penalty))
        s->frequency_penalty = a->frequency_penalty;
    if (a->top_k != NCT_UNSET)
        s->top_k = (int)a->top_k;
    if (a->repeat_last_n != NCT_UNSET)
        s->repeat_last_n = (int)a->repeat_last_n;
    s->seed = a->seed == NCT_UNSET || a->seed == -1 ? nct_draw_seed() : (uint64_t)a->seed;
    *bias = NULL;
    return take_biases(cli, engine, s, bias);
}
