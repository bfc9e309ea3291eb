#include "cli/escapes.h"

#include <stdlib.h>
#include <string.h>

/* CSI and SS3 of ECMA-48; modifiers as xterm has them: ESC [ 1 ; m C, where m - 1 holds 1 Shift, 2 Alt, 4 Ctrl. */

bool nct_escape_is_whole(const char *s, size_t n) {
    if (s[0] != '[' && s[0] != 'O')
        return true; /* Alt and a key */
    if (n == 2 && s[0] == '[' && s[1] == '[')
        return false; /* the Linux console's function keys: ESC [ [ A */
    return n > 1 && (n >= NCT_ESCAPE_BYTES || (s[n - 1] >= 0x40 && s[n - 1] <= 0x7e) ||
                     (unsigned char)s[n - 1] < 0x20);
}

static const char *moved(char final, bool by_words) {
    switch (final) {
    case 'A':
        return "\020"; /* Ctrl-P */
    case 'B':
        return "\016";
    case 'C':
    case 'c': /* rxvt's Ctrl-arrows are small letters */
        return by_words ? "\033f" : "\006";
    case 'D':
    case 'd':
        return by_words ? "\033b" : "\002";
    case 'H':
        return "\001";
    case 'F':
        return "\005";
    default:
        return "";
    }
}

static const char *numbered(long number, bool modified) {
    switch (number) {
    case 1: /* the consoles of Linux and screen; rxvt has 7 and 8 */
    case 7:
        return "\001";
    case 4:
    case 8:
        return "\005";
    case 3:
        return modified ? "\033d" : "\033[3~";
    case 200: /* the beginning of a paste */
        return NULL;
    default:
        return "";
    }
}

const char *nct_escape_keys(const char *s, size_t n) {
    char text[NCT_ESCAPE_BYTES + 1], final = s[n - 1];
    if (n < 2 || (s[0] != '[' && s[0] != 'O'))
        return NULL;
    if (s[0] == '[' && s[1] == '[')
        return "";
    memcpy(text, s + 1, n - 1);
    text[n - 1] = 0;
    const char *parameters = strchr(text, ';');
    long modifier = parameters ? strtol(parameters + 1, NULL, 10) - 1 : 0;
    /* ESC [ 5 C of PuTTY and old xterms; ESC O 5 C */
    if (!parameters && n == 3 && text[0] >= '2' && text[0] <= '8' && final != '~')
        modifier = text[0] - '1';
    if (final == '~')
        return numbered(strtol(text, NULL, 10), modifier > 0);
    bool small = final == 'c' || final == 'd', by_words = modifier > 1 || (small && s[0] == 'O');
    return small && s[0] != 'O' ? "" : moved(final, by_words);
}
