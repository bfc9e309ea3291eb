/* What eval needle asks: hay, needles and the question. */
#include <string.h>

#include "base/rng.h"
#include "cli/needle.h"
#include "cli/overflow.h"

enum { LEAST_HAY = 64 }; /* tokens of hay below which a length makes no sense */

/* ------------------------------------------------------------------ two languages */

static const char *const words_en[] = {"amber",   "basil",  "cedar",  "delta",   "ember",   "fjord",
                                       "garnet",  "harbor", "indigo", "juniper", "kestrel", "lantern",
                                       "maple",   "nectar", "onyx",   "pepper",  "quartz",  "raven",
                                       "saffron", "tulip",  "umber",  "velvet",  "willow",  "zephyr"};
static const char *const words_zh[] = {"琥珀", "罗勒", "雪松", "三角洲", "余烬", "峡湾", "石榴石", "港湾",
                                       "靛蓝", "杜松", "红隼", "灯笼",   "枫树", "花蜜", "玛瑙",   "胡椒",
                                       "石英", "渡鸦", "赭石", "郁金香", "丝绒", "柳树", "藏红花", "微风"};
enum { N_WORDS = sizeof words_en / sizeof *words_en };
_Static_assert(sizeof words_zh == sizeof words_en, "as many in each");

typedef nct_status question_fn(const nct_needle *n, const char *const word[NCT_NEEDLES], nct_bytes *text,
                               nct_error *err);

static nct_status question_en(const nct_needle *n, const char *const word[NCT_NEEDLES], nct_bytes *text,
                              nct_error *err) {
    bool plain = n->quiz.talk.plain, one = n->n_needles == 1;
    NCT_TRY(nct_bytes_printf(text, err,
                             plain ? "\n\nThe special magic number%s for"
                                   : "\n\nWhat %s the special magic number%s for",
                             plain ? one ? "" : "s"
                             : one ? "is"
                                   : "are",
                             one ? "" : "s"));
    for (size_t i = 0; i < n->n_needles; i++)
        NCT_TRY(nct_bytes_printf(text, err, "%s %s",
                                 i == 0                  ? ""
                                 : i + 1 == n->n_needles ? " and"
                                                         : ",",
                                 word[i]));
    return nct_bytes_printf(text, err, plain ? " in the text %s" : " in the text? Answer with the number%s.",
                            plain ? one ? "is" : "are"
                            : one ? ""
                                  : "s");
}

static nct_status question_zh(const nct_needle *n, const char *const word[NCT_NEEDLES], nct_bytes *text,
                              nct_error *err) {
    NCT_TRY(nct_bytes_add_str(text, "\n\n文中", err));
    for (size_t i = 0; i < n->n_needles; i++)
        NCT_TRY(nct_bytes_printf(text, err, "%s%s",
                                 i == 0                  ? ""
                                 : i + 1 == n->n_needles ? "和"
                                                         : "、",
                                 word[i]));
    NCT_TRY(nct_bytes_add_str(text, n->n_needles == 1 ? "的神奇数字是" : "的神奇数字分别是", err));
    return n->quiz.talk.plain ? NCT_OK : nct_bytes_add_str(text, "什么？请用数字回答。", err);
}

static const struct {
    const char *intro, *filler, *before, *between,
        *behind;     /* a needle is before, word, between, number, behind */
    const char *gap; /* where no space stands before a needle */
    const char *const *words;
    question_fn *question;
} languages[] = {
    [NCT_NEEDLE_EN] =
        {"Some special magic numbers are hidden in the text below. Remember them: you will be asked for "
         "them after the text.\n\n",
         "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. ",
         "One of the special magic numbers for ", " is: ", ". ", " ", words_en, question_en},
    [NCT_NEEDLE_ZH] = {"下面的文字里藏着一些神奇数字。请记住它们：读完文字之后会问到。\n\n",
                       "草是绿的。天是蓝的。太阳是黄的。我们走吧。去了又回来。", "关于", "的一个神奇数字是：",
                       "。", "", words_zh, question_zh},
};

/* ------------------------------------------------------------------ prompts */

/* The end of a sentence at `at` bytes of the hay or shortly before; else of a word, else of a character. */
static size_t find_seam(const nct_needle *n, size_t n_bytes, size_t at) {
    enum { BACK = 400 };
    const char *text = n->hay.data;
    if (at >= n_bytes)
        return n_bytes;
    size_t lowest = at > BACK ? at - BACK : 0;
    for (size_t i = at; i > lowest; i--) {
        if (text[i - 1] == '\n' ||
            (i >= 2 && text[i - 1] == ' ' && strchr(".!?", text[i - 2]) && text[i - 2]))
            return i;
        if (i >= 3 && (memcmp(text + i - 3, "\xe3\x80\x82", 3) == 0)) /* the Chinese full stop */
            return i;
    }
    if (lowest == 0)
        return 0;
    for (size_t i = at; i > lowest; i--)
        if (text[i - 1] == ' ')
            return i;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

/* What the numbers are for. */
static void draw_words(const nct_needle *n, const nct_needle_place *p, const char *word[NCT_NEEDLES]) {
    uint64_t where = (uint64_t)n->lengths.value[p->length] * 1024 + (uint64_t)n->depths.value[p->depth];
    size_t first = (size_t)(nct_rng_uniform(n->seed + p->seed, 1, where, 0) * N_WORDS);
    for (size_t i = 0; i < n->n_needles; i++)
        word[i] = languages[n->lang].words[(first + i) % N_WORDS];
}

void nct_needle_numbers(const nct_needle *n, const nct_needle_place *p, uint64_t number[NCT_NEEDLES]) {
    uint64_t where = (uint64_t)n->lengths.value[p->length] * 1024 + (uint64_t)n->depths.value[p->depth];
    for (size_t i = 0; i < n->n_needles; i++)
        number[i] = 1000000 + (uint64_t)(nct_rng_uniform(n->seed + p->seed, 0, where, (uint32_t)i) * 9000000);
}

/* The prompt with n_hay tokens of hay. The first needle lies at the depth, the others spread over the rest. */
static nct_status compose(const nct_needle *n, const nct_needle_place *p, size_t n_hay, nct_bytes *text,
                          nct_error *err) {
    size_t n_bytes = n_hay ? n->ends[n_hay - 1] : 0, seam[NCT_NEEDLES], order[NCT_NEEDLES], at = 0;
    uint64_t number[NCT_NEEDLES];
    const char *word[NCT_NEEDLES];
    nct_needle_numbers(n, p, number);
    draw_words(n, p, word);
    for (size_t i = 0; i < n->n_needles; i++) {
        double depth = (double)n->depths.value[p->depth] + 100.0 * (double)i / (double)n->n_needles;
        depth -= depth > 100 ? 100 : 0;
        seam[i] = find_seam(n, n_bytes, (size_t)((double)n_bytes * depth / 100));
        size_t k = i;
        for (; k > 0 && seam[order[k - 1]] > seam[i]; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    NCT_TRY(nct_bytes_add_str(text, languages[n->lang].intro, err));
    for (size_t k = 0; k < n->n_needles; k++) {
        size_t i = order[k];
        NCT_TRY(nct_bytes_add(text, n->hay.data + at, seam[i] - at, err));
        at = seam[i];
        NCT_TRY(nct_bytes_printf(text, err, "%s%s%s%s%llu%s",
                                 strchr(" \n", text->data[text->n - 1]) ? "" : languages[n->lang].gap,
                                 languages[n->lang].before, word[i], languages[n->lang].between,
                                 (unsigned long long)number[i], languages[n->lang].behind));
    }
    NCT_TRY(nct_bytes_add(text, n->hay.data + at, n_bytes - at, err));
    return languages[n->lang].question(n, word, text, err);
}

static nct_status encode_prompt(nct_needle *n, const nct_needle_place *p, size_t n_hay, int32_t **ids,
                                size_t *n_ids, nct_error *err) {
    nct_bytes text = {0};
    nct_status status = compose(n, p, n_hay, &text, err);
    if (status == NCT_OK)
        status = nct_quiz_encode(&n->quiz, text.data, text.n, ids, n_ids, err);
    nct_bytes_reset(&text);
    return status;
}

static nct_status no_room(const nct_needle *n, size_t length, nct_error *err) {
    return nct_fail(err, NCT_E_ARGUMENT,
                    "a length of %zu has no room for a text beside the question and an answer of %zu tokens",
                    length, n->quiz.max_tokens);
}

int nct_needle_check_room(nct_needle *n) {
    for (nct_needle_place p = {0}; p.length < n->lengths.n; p.length++) {
        size_t length = (size_t)n->lengths.value[p.length], n_ids = 0;
        int32_t *ids = NULL;
        nct_error err = {0};
        nct_status status = encode_prompt(n, &p, 0, &ids, &n_ids, &err);
        nct_free(ids);
        if (status == NCT_OK && n_ids + n->quiz.max_tokens + 2 * LEAST_HAY > length)
            status = no_room(n, length, &err);
        if (status != NCT_OK)
            return nct_needle_say(n, &err);
    }
    return NCT_EXIT_OK;
}

/* The prompt of a trial: as much hay as leaves room for the answer. Where hay was cut or a needle stands in it, tokens
 * may fall otherwise than in the whole, so that it takes a few tries. */
nct_status nct_needle_prompt(nct_needle *n, const nct_needle_place *p, int32_t **ids, size_t *n_ids,
                             nct_error *err) {
    enum { TRIES = 16 };
    size_t length = (size_t)n->lengths.value[p->length];
    size_t room = length > n->quiz.max_tokens ? length - n->quiz.max_tokens : 0;
    NCT_TRY(encode_prompt(n, p, 0, ids, n_ids, err));
    nct_free(*ids);
    *ids = NULL;
    size_t n_hay = room > *n_ids ? room - *n_ids : 0;
    for (int i = 0; i < TRIES && n_hay >= LEAST_HAY; i++) {
        NCT_TRY(encode_prompt(n, p, n_hay, ids, n_ids, err));
        if (*n_ids <= room)
            return NCT_OK;
        nct_free(*ids);
        *ids = NULL;
        n_hay -= *n_ids - room < n_hay ? *n_ids - room : n_hay;
    }
    return no_room(n, length, err);
}

/* ------------------------------------------------------------------ hay */

int nct_needle_make_hay(nct_needle *n) {
    const nct_cli *cli = n->cli;
    const char *path = cli->args.haystack;
    nct_bytes once = {0};
    nct_error err = {0};
    size_t longest = 0, target;
    for (size_t i = 0; i < n->lengths.n; i++)
        longest = (size_t)n->lengths.value[i] > longest ? (size_t)n->lengths.value[i] : longest;
    int code = path ? nct_input_read(cli, path, &once) : NCT_EXIT_OK;
    if (code == NCT_EXIT_OK && !path && nct_bytes_add_str(&once, languages[n->lang].filler, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK && once.n == 0)
        code = nct_say_error(cli, NCT_EXIT_USAGE, "%s is empty", path);
    if (code == NCT_EXIT_OK)
        nct_sha256_of(once.data, once.n, n->hay_sha);
    nct_status status = NCT_OK;
    for (target = 4 * longest; code == NCT_EXIT_OK && status == NCT_OK && n->n_ends < longest; target *= 2) {
        while (n->hay.n < target && status == NCT_OK) {
            size_t rest = target - n->hay.n, take = rest < once.n ? rest : once.n;
            while (take < once.n && ((unsigned char)once.data[take] & 0xc0) == 0x80)
                take++;
            status = nct_bytes_add(&n->hay, once.data, take, &err);
        }
        nct_free(n->ends);
        n->ends = NULL;
        if (status == NCT_OK)
            status = nct_token_ends(n->quiz.engine, n->hay.data, n->hay.n, false, &n->ends, &n->n_ends, &err);
        if (status == NCT_OK && n->n_ends < longest)
            n->hay.n = 0; /* anew, and longer: what was cut off at its end belongs in the middle then */
    }
    nct_bytes_reset(&once);
    return code == NCT_EXIT_OK ? nct_say_status(cli, &err) : code;
}
