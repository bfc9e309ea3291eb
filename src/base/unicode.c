#include "base/unicode.h"

#include <stdlib.h>
#include <utf8proc.h>

#include "base/utf8.h"

enum { CODES = 0x110000 };

#define BIT(category) ((uint32_t)1 << UTF8PROC_CATEGORY_##category)

uint32_t nct_unicode_category(uint32_t code) {
    return code < CODES ? (uint32_t)1 << utf8proc_category((utf8proc_int32_t)code) : 0;
}

bool nct_unicode_named(const char *name, size_t n, uint32_t *mask) {
    uint32_t found = 0;
    if (n < 1 || n > 2)
        return false;
    for (int i = 0; i <= UTF8PROC_CATEGORY_CO; i++) {
        /* the library tells categories of characters only, and every category has some character */
        static const char names[][3] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                        "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                        "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
        if (memcmp(names[i], name, n) == 0)
            found |= (uint32_t)1 << i;
    }
    if (!found)
        return false;
    *mask = found;
    return true;
}

uint32_t nct_unicode_spaces(void) { return BIT(ZS) | BIT(ZL) | BIT(ZP); }

bool nct_unicode_is_space(uint32_t code) {
    return (code >= 9 && code <= 13) || code == 0x85 || (nct_unicode_category(code) & nct_unicode_spaces());
}

uint32_t nct_unicode_lower(uint32_t code) {
    return code < CODES ? (uint32_t)utf8proc_tolower((utf8proc_int32_t)code) : code;
}

uint32_t nct_unicode_upper(uint32_t code) {
    return code < CODES ? (uint32_t)utf8proc_toupper((utf8proc_int32_t)code) : code;
}

size_t nct_unicode_columns(uint32_t code) {
    return code < CODES ? (size_t)utf8proc_charwidth((utf8proc_int32_t)code) : 1;
}

nct_status nct_unicode_add(nct_bytes *out, uint32_t code, nct_error *err) {
    utf8proc_uint8_t buf[4];
    return nct_bytes_add(out, buf, (size_t)utf8proc_encode_char((utf8proc_int32_t)code, buf), err);
}

/* ------------------------------------------------------------------ lower case */

static bool in_ranges(uint32_t code, const uint32_t (*range)[2], size_t n) {
    for (size_t i = 0; i < n; i++)
        if (code >= range[i][0] && code <= range[i][1])
            return true;
    return false;
}

/* Case_Ignorable: marks, format characters, modifiers, and the punctuation that stands inside words. */
static bool is_ignorable(uint32_t code) {
    static const uint32_t inside[][2] = {{0x27, 0x27},     {0x2e, 0x2e},     {0x3a, 0x3a},     {0xb7, 0xb7},
                                         {0x387, 0x387},   {0x55f, 0x55f},   {0x5f4, 0x5f4},   {0x2018, 0x2019},
                                         {0x2024, 0x2024}, {0x2027, 0x2027}, {0xfe13, 0xfe13}, {0xfe52, 0xfe52},
                                         {0xfe55, 0xfe55}, {0xff07, 0xff07}, {0xff0e, 0xff0e}, {0xff1a, 0xff1a}};
    uint32_t ignorable = BIT(MN) | BIT(ME) | BIT(CF) | BIT(LM) | BIT(SK);
    return (nct_unicode_category(code) & ignorable) || in_ranges(code, inside, sizeof inside / sizeof *inside);
}

/* Cased: letters with case, and what looks like such letters. */
static bool is_cased(uint32_t code) {
    static const uint32_t other[][2] = {{0xaa, 0xaa},       {0xba, 0xba},       {0x2160, 0x217f},  {0x24b6, 0x24e9},
                                        {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}};
    return (nct_unicode_category(code) & (BIT(LU) | BIT(LL) | BIT(LT))) ||
           in_ranges(code, other, sizeof other / sizeof *other);
}

enum { SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2 };

/* The next character that says whether a word goes on is cased. */
static bool cased_follows(const char *s, size_t n) {
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t code = UINT32_MAX;
        length = nct_utf8_decode(s + i, n - i, &code);
        length = length ? length : 1;
        if (!is_ignorable(code))
            return is_cased(code);
    }
    return false;
}

nct_status nct_unicode_add_lower(nct_bytes *out, const char *text, size_t n, nct_error *err) {
    bool cased = false; /* the last character that is not ignorable is */
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t code;
        length = nct_utf8_decode(text + i, n - i, &code);
        if (length == 0) {
            NCT_TRY(nct_bytes_add_str(out, NCT_REPLACEMENT, err));
            cased = false;
            length = 1;
            continue;
        }
        if (code == SIGMA && cased && !cased_follows(text + i + length, n - i - length))
            NCT_TRY(nct_unicode_add(out, FINAL_SIGMA, err));
        else if (code == 0x130) /* the one letter whose lower case is two characters */
            NCT_TRY(nct_bytes_add_str(out, "i\xcc\x87", err));
        else
            NCT_TRY(nct_unicode_add(out, nct_unicode_lower(code), err));
        if (!is_ignorable(code))
            cased = is_cased(code);
    }
    return nct_bytes_add(out, "", 0, err);
}

/* ------------------------------------------------------------------ decomposition */

nct_status nct_unicode_add_unmarked(nct_bytes *out, const char *text, size_t n, nct_error *err) {
    const utf8proc_option_t options = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    void *codes = NULL;
    if (n == 0)
        return nct_bytes_add(out, "", 0, err);
    utf8proc_ssize_t need = utf8proc_decompose(bytes, (utf8proc_ssize_t)n, NULL, 0, options);
    if (need < 0)
        return nct_fail(err, NCT_E_ARGUMENT, "a text is not UTF-8");
    NCT_TRY(nct_alloc(&codes, (size_t)need, sizeof(utf8proc_int32_t), err));
    need = utf8proc_decompose(bytes, (utf8proc_ssize_t)n, codes, need, options);
    nct_status status = NCT_OK;
    for (utf8proc_ssize_t i = 0; i < need && status == NCT_OK; i++) {
        uint32_t code = (uint32_t)((utf8proc_int32_t *)codes)[i];
        if (!(nct_unicode_category(code) & BIT(MN)))
            status = nct_unicode_add(out, code, err);
    }
    nct_free(codes);
    return status;
}
