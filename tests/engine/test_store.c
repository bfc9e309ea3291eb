#define _GNU_SOURCE
/* Pages as files: what is taken has the bits of what is computed, and nothing is believed that is not whole. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/session.h"
#include "noctule.h"
#include "support/checkpoint.h"
#include "support/support.h"

enum { N = 2 * NCT_PAGE + 300, MORE = 40, MOST = N + 200 };

typedef struct world {
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    const char *model, *folder;
    int32_t ids[MOST];
    char warning[512];
    int n_warnings, n_first;
} world;

static void notice(void *context, nct_notice kind, const char *text) {
    world *w = context;
    w->n_warnings += kind == NCT_NOTICE_WARNING;
    w->n_first += kind == NCT_NOTICE_FIRST;
    if (kind == NCT_NOTICE_WARNING)
        snprintf(w->warning, sizeof w->warning, "%s", text);
}

static void open_engine(world *w, const char *isa) {
    NCT_ASSERT_OK(nct_engine_open(w->model,
                                  &(nct_engine_options){.isa = isa, .n_threads = 2, .force_threads = true},
                                  &w->engine, fault));
    nct_engine_info(w->engine, &w->info);
    for (size_t i = 0; i < MOST; i++)
        w->ids[i] = (int32_t)((i * i * 31 + i * 7 + 5) % (size_t)w->info.n_vocab);
}

static void begin(world *w, bool sparse) {
    *w = (world){0};
    const char *top = nct_test_folder();
    w->folder = nct_test_path("%s/kv", top);
    w->model = nct_test_path("%s/model", top);
    nct_tiny_write(w->model, &(nct_tiny){.seed = 11, .weights = NCT_TINY_BF16, .sparse = sparse});
    open_engine(w, NULL);
}

static void end(world *w) {
    nct_session_close(w->session);
    nct_engine_close(w->engine);
    char top[4096];
    snprintf(top, sizeof top, "%.*s", (int)(strlen(w->folder) - strlen("/kv")), w->folder);
    nct_test_folder_remove(top);
}

static nct_session_options keeping(world *w) {
    return (nct_session_options){.n_ctx = MOST,
                                 .force_ctx = true,
                                 .kv_folder = w->folder,
                                 .keep = NCT_KEEP_ALL,
                                 .notice = notice,
                                 .notice_context = w};
}

static void restart(world *w, nct_session_options options) {
    nct_session_close(w->session);
    w->session = NULL;
    NCT_ASSERT_OK(nct_session_open(w->engine, &options, &w->session, fault));
}

/* Takes what there is of the first n ids and computes the rest. How many were taken. */
static size_t read_ids(world *w, size_t n) {
    NCT_ASSERT_OK(nct_session_take(w->session, w->ids, n, fault));
    size_t taken = (size_t)nct_session_length(w->session);
    NCT_ASSERT_OK(nct_session_feed(w->session, w->ids + taken, n - taken, NULL, fault));
    nct_session_keep(w->session, (int)n);
    return taken;
}

/* Logits after the n ids of a session without files, copied. */
static float *fresh(world *w, nct_session_options options, size_t n) {
    options.kv_folder = NULL;
    options.kv_mapped = false;
    restart(w, options);
    NCT_ASSERT_OK(nct_session_feed(w->session, w->ids, n, NULL, fault));
    void *p = NULL;
    NCT_ASSERT_OK(nct_alloc(&p, (size_t)w->info.n_vocab, sizeof(float), fault));
    memcpy(p, nct_session_logits(w->session), (size_t)w->info.n_vocab * sizeof(float));
    return p;
}

static void same(const char *what, world *w, const float *want) {
    nct_test_same_bits(what, nct_session_logits(w->session), want, (size_t)w->info.n_vocab);
}

/* The files of a kind by their size or ending; the newest path is kept if asked. */
static size_t count_files(const world *w, const char *ending, char *path) {
    DIR *dir = opendir(w->folder);
    size_t n = 0;
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (strlen(d->d_name) > strlen(ending) &&
            strcmp(d->d_name + strlen(d->d_name) - strlen(ending), ending) == 0) {
            n++;
            if (path)
                snprintf(path, 4096, "%s/%s", w->folder, d->d_name);
        }
    if (dir)
        closedir(dir);
    return n;
}

/* The system lets go of what it has of the files, if it can be told to. */
static void let_go(const world *w) {
#ifdef MADV_PAGEOUT
    const nct_cache *c = &w->session->cache;
    madvise(c->pages, nct_cache_bytes(c), MADV_PAGEOUT);
#else
    (void)w;
#endif
}

/* ------------------------------------------------------------------ the same bits */

static void check_same(bool sparse, bool mapped, nct_kv keys, nct_kv values) {
    world w;
    begin(&w, sparse);
    nct_session_options o = keeping(&w);
    o.keys = keys;
    o.values = values;
    float *want = fresh(&w, o, N), *longer = fresh(&w, o, N + MORE), *cut = fresh(&w, o, NCT_PAGE + 700);
    o.kv_mapped = mapped;
    restart(&w, o);
    assert_int_equal(read_ids(&w, N), 0);
    same("kept", &w, want);
    restart(&w, o); /* mapped: the tail is kept on closing */
    assert_int_equal(count_files(&w, ".page", NULL), 3);
    assert_int_equal(count_files(&w, ".temp", NULL), 0);
    assert_int_equal(read_ids(&w, N), N - 1);
    same("taken", &w, want);
    o.chunk = 37;
    restart(&w, o);
    assert_int_equal(read_ids(&w, N + MORE), N);
    same("taken and gone on", &w, longer);
    /* back into a page that was taken, on another way, and back again */
    NCT_ASSERT_OK(nct_session_rewind(w.session, NCT_PAGE + 5, fault));
    NCT_ASSERT_OK(nct_session_feed(w.session, w.ids, 900, NULL, fault));
    NCT_ASSERT_OK(nct_session_rewind(w.session, NCT_PAGE + 5, fault));
    NCT_ASSERT_OK(nct_session_feed(w.session, w.ids + NCT_PAGE + 5, 700 - 5, NULL, fault));
    same("rewound", &w, cut);
    restart(&w, o); /* and that has changed nobody's files */
    assert_true(read_ids(&w, N + MORE) >= N);
    same("taken after that", &w, longer);
    /* a prompt that parts from the kept one within a page takes what agrees */
    restart(&w, o);
    int32_t was = w.ids[NCT_PAGE + 650];
    w.ids[NCT_PAGE + 650] = (was + 1) % w.info.n_vocab;
    assert_int_equal(read_ids(&w, NCT_PAGE + 700), NCT_PAGE + 650);
    w.ids[NCT_PAGE + 650] = was;
    NCT_ASSERT_OK(nct_session_rewind(w.session, NCT_PAGE + 650, fault));
    NCT_ASSERT_OK(nct_session_feed(w.session, w.ids + NCT_PAGE + 650, 50, NULL, fault));
    same("parted and rewound", &w, cut);
    assert_int_equal(w.n_warnings, 0);
    nct_free(want);
    nct_free(longer);
    nct_free(cut);
    end(&w);
}

static void test_store__taken_pages_have_the_bits_of_computed_ones(void **state) {
    (void)state;
    for (int type = NCT_KV_FLOAT32; type <= NCT_KV_INT8; type++)
        for (int sparse = 0; sparse < 2; sparse++)
            check_same(sparse, false, (nct_kv)type, (nct_kv)type);
    check_same(true, false, NCT_KV_INT8, NCT_KV_FLOAT16);
}

static void test_store__mapped_pages_too(void **state) {
    (void)state;
    for (int type = NCT_KV_FLOAT32; type <= NCT_KV_INT8; type++)
        for (int sparse = 0; sparse < 2; sparse++)
            check_same(sparse, true, (nct_kv)type, (nct_kv)type);
}

static void test_store__mapped_and_nameless_leaves_nothing(void **state) {
    (void)state;
    world w;
    begin(&w, true);
    nct_session_options o = keeping(&w);
    float *want = fresh(&w, o, N);
    o.keep = NCT_KEEP_OFF;
    o.kv_mapped = true;
    restart(&w, o);
    assert_int_equal(read_ids(&w, N), 0);
    same("nameless", &w, want);
    nct_report report;
    nct_session_report(w.session, &report);
    assert_int_equal(report.kv_mapped_bytes, report.kv_bytes);
    assert_true(report.kv_resident_bytes > 0 && report.kv_resident_bytes <= report.kv_bytes);
    assert_true(report.kv_dirty_bytes <= report.kv_mapped_bytes);
    assert_int_equal(nct_session_cache_bytes(w.session, N), report.kv_bytes);
    assert_int_equal(nct_session_cache_bytes(w.session, 1), nct_session_cache_bytes(w.session, NCT_PAGE));
    assert_int_equal(count_files(&w, "", NULL), 2); /* . and .. */
    NCT_ASSERT_OK(nct_session_rewind(w.session, 100, fault));
    NCT_ASSERT_OK(nct_session_feed(w.session, w.ids + 100, N - 100, NULL, fault));
    same("nameless, rewound", &w, want);
    nct_free(want);
    end(&w);
}

/* A made-up past in files is the one in memory, and is nobody else's. */
static void test_store__made_up_pages_are_the_same_in_files_and_never_kept(void **state) {
    (void)state;
    world w;
    nct_error err = {0};
    begin(&w, true);
    nct_session_options o = keeping(&w);
    restart(&w, o);
    assert_int_equal(nct_session_make_up(w.session, N, 7, &err), NCT_E_ARGUMENT);
    o.keep = NCT_KEEP_OFF;
    o.kv_folder = NULL;
    float *want = NULL;
    for (int mapped = 0; mapped < 2; mapped++) {
        o.kv_mapped = mapped;
        o.kv_folder = mapped ? w.folder : NULL;
        restart(&w, o);
        NCT_ASSERT_OK(nct_session_make_up(w.session, NCT_PAGE / 2, 7, fault));
        NCT_ASSERT_OK(nct_session_make_up(w.session, NCT_PAGE + 700, 7, fault));
        assert_int_equal(nct_session_length(w.session), NCT_PAGE + NCT_PAGE / 2 + 700);
        NCT_ASSERT_OK(nct_session_feed(w.session, w.ids, 20, NULL, fault));
        if (want) {
            same("made up in files", &w, want);
        } else {
            void *p = NULL;
            NCT_ASSERT_OK(nct_alloc(&p, (size_t)w.info.n_vocab, sizeof(float), fault));
            memcpy(p, nct_session_logits(w.session), (size_t)w.info.n_vocab * sizeof(float));
            want = p;
        }
    }
    assert_int_equal(count_files(&w, "", NULL), 2);
    nct_free(want);
    end(&w);
}

/* Blocks that were let go are asked for and come back: one by one, in tiles, and where all are attended to. */
static void test_store__what_was_let_go_is_read_again(void **state) {
    (void)state;
    for (int sparse = 0; sparse < 2; sparse++) {
        world w;
        begin(&w, sparse);
        nct_session_options o = keeping(&w);
        float *want = fresh(&w, o, N + MORE);
        o.kv_mapped = true;
        for (int rows = 1; rows <= MORE; rows += MORE - 1) {
            o.chunk = rows == 1 ? 1 : 150;
            restart(&w, o);
            read_ids(&w, N - 200);
            let_go(&w);
            for (size_t at = N - 200; at < N + MORE; at += (size_t)o.chunk) {
                size_t n = N + MORE - at < (size_t)o.chunk ? N + MORE - at : (size_t)o.chunk;
                NCT_ASSERT_OK(nct_session_feed(w.session, w.ids + at, n, NULL, fault));
            }
            same("let go", &w, want);
        }
        assert_int_equal(w.n_warnings, 0);
        nct_free(want);
        end(&w);
    }
}

/* ------------------------------------------------------------------ what is not kept, not taken */

static void test_store__prompts_that_were_cheap_are_not_kept(void **state) {
    (void)state;
    world w;
    begin(&w, false);
    nct_session_options o = keeping(&w);
    o.kv_min_s = 1e6;
    restart(&w, o);
    read_ids(&w, N);
    o.kv_min_s = 0;
    o.kv_min_tokens = N + 1;
    restart(&w, o);
    read_ids(&w, N);
    o.keep = NCT_KEEP_TAKE;
    o.kv_min_tokens = 0;
    restart(&w, o);
    read_ids(&w, N);
    o.keep = NCT_KEEP_ALL;
    o.sparse = NCT_SPARSE_ON;
    assert_int_not_equal(access(w.folder, F_OK), 0);
    assert_int_equal(w.n_first, 0);
    end(&w);
}

static void test_store__a_prompt_that_decides_as_a_whole_is_nobodys(void **state) {
    (void)state;
    world w;
    begin(&w, true);
    nct_session_options o = keeping(&w);
    o.decide_by_prompt = true;
    restart(&w, o);
    read_ids(&w, N);
    assert_int_not_equal(access(w.folder, F_OK), 0);
    o.decide_by_prompt = false;
    restart(&w, o);
    read_ids(&w, N);
    o.decide_by_prompt = true;
    restart(&w, o);
    assert_int_equal(read_ids(&w, N), 0);
    end(&w);
}

static void test_store__foreign_pages_are_passed_over_in_silence(void **state) {
    (void)state;
    world w;
    begin(&w, true);
    nct_session_options o = keeping(&w), other;
    o.keys = o.values = NCT_KV_FLOAT16;
    restart(&w, o);
    read_ids(&w, N);
    assert_int_equal(w.n_first, 1);
    other = o, other.values = NCT_KV_INT8;
    restart(&w, other);
    assert_int_equal(read_ids(&w, N), 0);
    other = o, other.sparse_r1 = true;
    restart(&w, other);
    assert_int_equal(read_ids(&w, N), 0);
    other = o, other.sparse = NCT_SPARSE_OFF;
    restart(&w, other);
    assert_int_equal(read_ids(&w, N), 0);
    nct_session_close(w.session); /* other arithmetic */
    w.session = NULL;
    nct_engine_close(w.engine);
    open_engine(&w, "ref");
    if (strcmp(w.info.isa, "ref") == 0) {
        restart(&w, o);
        NCT_ASSERT_OK(nct_session_take(w.session, w.ids, N, fault));
        nct_engine *best = NULL;
        nct_model_info info;
        NCT_ASSERT_OK(nct_engine_open(w.model, NULL, &best, fault));
        nct_engine_info(best, &info);
        assert_int_equal(nct_session_length(w.session), strcmp(info.isa, "ref") == 0 ? N - 1 : 0);
        nct_engine_close(best);
    }
    nct_session_close(w.session); /* another model under the same name */
    w.session = NULL;
    nct_engine_close(w.engine);
    nct_tiny_write(w.model, &(nct_tiny){.seed = 12, .weights = NCT_TINY_BF16, .sparse = true});
    open_engine(&w, NULL);
    restart(&w, o);
    assert_int_equal(read_ids(&w, N), 0);
    assert_int_equal(w.n_first, 1);
    assert_int_equal(w.n_warnings, 0);
    end(&w);
}

/* ------------------------------------------------------------------ damage */

static void damage(const char *path, int how) {
    struct stat st;
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    if (how == 0) { /* a bit of the payload */
        assert_int_equal(pread(fd, &byte, 1, 12345), 1);
        byte ^= 16;
        assert_int_equal(pwrite(fd, &byte, 1, 12345), 1);
    } else if (how == 1) {
        assert_int_equal(ftruncate(fd, st.st_size - 1000), 0);
    } else if (how == 2) {
        assert_int_equal(ftruncate(fd, 0), 0);
    } else if (how == 3) { /* an id */
        assert_int_equal(pread(fd, &byte, 1, st.st_size - 512 - 4096), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, st.st_size - 512 - 4096), 1);
    } else { /* the record */
        assert_int_equal(pread(fd, &byte, 1, st.st_size - 400), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, st.st_size - 400), 1);
    }
    close(fd);
}

static void check_damage(bool mapped, int how) {
    world w;
    char path[4096];
    begin(&w, true);
    nct_session_options o = keeping(&w);
    float *want = fresh(&w, o, N);
    o.kv_mapped = mapped;
    restart(&w, o);
    read_ids(&w, N);
    restart(&w, o);
    assert_int_equal(count_files(&w, ".page", path), 3);
    damage(path, how);
    size_t taken = read_ids(&w, N);
    assert_true(taken < N - 1);
    assert_int_equal(w.n_warnings, 1);
    assert_non_null(strstr(w.warning, "damaged, and not used"));
    same("beside a damaged page", &w, want);
    restart(&w, o);
    assert_int_equal(read_ids(&w, N), N - 1); /* it was written anew */
    assert_int_equal(w.n_warnings, 1);
    same("after a damaged page", &w, want);
    nct_free(want);
    end(&w);
}

static void test_store__damaged_pages_are_told_of_and_computed(void **state) {
    (void)state;
    for (int how = 0; how < 5; how++)
        for (int mapped = 0; mapped < 2; mapped++)
            check_damage(mapped, how);
}

static void test_store__a_page_under_another_name_is_not_believed(void **state) {
    (void)state;
    world w;
    char names[3][4096];
    begin(&w, false);
    nct_session_options o = keeping(&w);
    float *want = fresh(&w, o, N);
    restart(&w, o);
    read_ids(&w, N);
    DIR *dir = opendir(w.folder);
    size_t n = 0;
    for (struct dirent *d; (d = readdir(dir));)
        if (strstr(d->d_name, ".page"))
            snprintf(names[n++], sizeof names[0], "%s/%s", w.folder, d->d_name);
    closedir(dir);
    assert_int_equal(n, 3);
    const char *aside = nct_test_path("%s/aside", w.folder); /* round by one */
    assert_int_equal(rename(names[0], aside) | rename(names[1], names[0]) | rename(names[2], names[1]) |
                         rename(aside, names[2]),
                     0);
    restart(&w, o);
    assert_int_equal(read_ids(&w, N), 0);
    same("names changed", &w, want);
    nct_free(want);
    end(&w);
}

static void test_store__a_reader_survives_an_eviction(void **state) {
    (void)state;
    for (int mapped = 0; mapped < 2; mapped++) {
        world w;
        begin(&w, true);
        nct_session_options o = keeping(&w);
        o.kv_mapped = mapped;
        float *want = fresh(&w, o, N + MORE);
        restart(&w, o);
        read_ids(&w, N);
        restart(&w, o);
        NCT_ASSERT_OK(nct_session_take(w.session, w.ids, N, fault));
        char path[4096];
        while (count_files(&w, ".page", path))
            unlink(path);
        size_t taken = (size_t)nct_session_length(w.session);
        assert_int_equal(taken, N - 1);
        NCT_ASSERT_OK(nct_session_feed(w.session, w.ids + taken, N + MORE - taken, NULL, fault));
        same("after the eviction", &w, want);
        assert_int_equal(w.n_warnings, 0);
        nct_free(want);
        end(&w);
    }
}

static void test_store__the_limit_is_kept(void **state) {
    (void)state;
    world w;
    char path[4096];
    struct stat st;
    begin(&w, false);
    nct_session_options o = keeping(&w);
    restart(&w, o);
    read_ids(&w, N);
    assert_int_equal(count_files(&w, ".page", path), 3);
    assert_int_equal(stat(path, &st), 0);
    o.kv_max_bytes = 3 * ((uint64_t)st.st_size + 4096) + 4096;
    for (int round = 0; round < 2; round++) {
        w.ids[0] = (w.ids[0] + 1) % w.info.n_vocab; /* another text */
        restart(&w, o);
        assert_int_equal(read_ids(&w, N), 0);
        assert_true(count_files(&w, ".page", NULL) <= 3);
        restart(&w, o);
        assert_true(read_ids(&w, N) >= 2 * NCT_PAGE); /* and the newest is what stays */
    }
    end(&w);
}

/* ------------------------------------------------------------------ disks that are full, processes that die */

static void test_store__a_full_disk_ends_what_lives_there_and_nothing_else(void **state) {
    (void)state;
    world w;
    begin(&w, false);
    nct_session_options o = keeping(&w);
    float *want = fresh(&w, o, N);
    struct rlimit old, low;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old, low.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    restart(&w, o); /* in memory: a warning, once */
    assert_int_equal(read_ids(&w, N), 0);
    int warnings = w.n_warnings;
    same("without files", &w, want);
    o.kv_mapped = true;
    nct_session_close(w.session);
    w.session = NULL;
    NCT_ASSERT_OK(nct_session_open(w.engine, &o, &w.session, fault));
    nct_error err = {0};
    nct_status status = nct_session_feed(w.session, w.ids, N, NULL, &err);
    int length = nct_session_length(w.session);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(warnings, 1);
    assert_int_equal(status, NCT_E_IO);
    assert_int_equal(length, 0);
    assert_non_null(strstr(err.text, "no room"));
    assert_int_equal(count_files(&w, ".temp", NULL) + count_files(&w, ".page", NULL), 0);
    NCT_ASSERT_OK(nct_session_feed(w.session, w.ids, N, NULL, fault)); /* there is room again */
    same("after a full disk", &w, want);
    nct_free(want);
    end(&w);
}

static void test_store__killed_at_any_moment_leaves_only_what_is_whole(void **state) {
    (void)state;
    world w;
    begin(&w, true);
    nct_session_options o = keeping(&w);
    float *want = fresh(&w, o, N);
    nct_session_close(w.session);
    w.session = NULL;
    nct_engine_close(w.engine); /* its threads do not survive a fork */
    w.engine = NULL;
    for (int i = 0; i < 12; i++) {
        pid_t child = fork();
        if (child == 0) {
            open_engine(&w, NULL);
            o.kv_mapped = i % 2;
            restart(&w, o);
            for (;;) {
                read_ids(&w, N);
                restart(&w, o);
                w.ids[1500] = (w.ids[1500] + 1) % w.info.n_vocab;
            }
        }
        usleep((useconds_t)(20000 + 17000 * i));
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
    }
    open_engine(&w, NULL);
    for (int mapped = 0; mapped < 2; mapped++) {
        o.kv_mapped = mapped;
        restart(&w, o);
        read_ids(&w, N);
        same("after the kills", &w, want);
    }
    assert_int_equal(w.n_warnings, 0);
    nct_session_close(w.session);
    w.session = NULL;
    assert_int_equal(count_files(&w, ".temp", NULL), 0);
    nct_free(want);
    end(&w);
}

static void test_store__two_processes_share_a_folder(void **state) {
    (void)state;
    world w;
    begin(&w, true);
    nct_session_options o = keeping(&w);
    float *want = fresh(&w, o, N);
    nct_session_close(w.session);
    w.session = NULL;
    nct_engine_close(w.engine);
    w.engine = NULL;
    pid_t child[3];
    for (int i = 0; i < 3; i++)
        if ((child[i] = fork()) == 0) {
            open_engine(&w, NULL);
            bool good = true;
            o.kv_mapped = i == 2;
            for (int round = 0; round < 4 && good; round++) {
                restart(&w, o);
                read_ids(&w, N);
                good = w.n_warnings == 0 && memcmp(nct_session_logits(w.session), want,
                                                   (size_t)w.info.n_vocab * sizeof(float)) == 0;
            }
            nct_session_close(w.session);
            _exit(good ? 0 : 1);
        }
    for (int i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_int_equal(status, 0);
    }
    open_engine(&w, NULL);
    o.kv_mapped = false;
    restart(&w, o);
    assert_int_equal(read_ids(&w, N), N - 1);
    same("after three processes", &w, want);
    assert_int_equal(count_files(&w, ".page", NULL), 3);
    nct_free(want);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store__taken_pages_have_the_bits_of_computed_ones),
        cmocka_unit_test(test_store__mapped_pages_too),
        cmocka_unit_test(test_store__mapped_and_nameless_leaves_nothing),
        cmocka_unit_test(test_store__made_up_pages_are_the_same_in_files_and_never_kept),
        cmocka_unit_test(test_store__what_was_let_go_is_read_again),
        cmocka_unit_test(test_store__prompts_that_were_cheap_are_not_kept),
        cmocka_unit_test(test_store__a_prompt_that_decides_as_a_whole_is_nobodys),
        cmocka_unit_test(test_store__foreign_pages_are_passed_over_in_silence),
        cmocka_unit_test(test_store__damaged_pages_are_told_of_and_computed),
        cmocka_unit_test(test_store__a_page_under_another_name_is_not_believed),
        cmocka_unit_test(test_store__a_reader_survives_an_eviction),
        cmocka_unit_test(test_store__the_limit_is_kept),
        cmocka_unit_test(test_store__a_full_disk_ends_what_lives_there_and_nothing_else),
        cmocka_unit_test(test_store__killed_at_any_moment_leaves_only_what_is_whole),
        cmocka_unit_test(test_store__two_processes_share_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
