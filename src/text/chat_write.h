/** What the renderers of chat.c write with: a text that knows which bytes are the template's own, JSON and
 *  Python spellings of values, and the Python stubs of minicpm3_tools.
 *
 *  A writer keeps its first failure and goes on without effect, so that renderers read like the templates
 *  they stand for.
 */
#ifndef NCT_TEXT_CHAT_WRITE_H
#define NCT_TEXT_CHAT_WRITE_H

#include "base/json.h"
#include "text/chat.h"

typedef struct nct_chat_writer {
    nct_chat_text *out;
    nct_status status;
    nct_error *err;
} nct_chat_writer;

static inline bool nct_chat_ok(const nct_chat_writer *w) { return w->status == NCT_OK; }

void nct_chat_markup(nct_chat_writer *w, const char *s);            /* the template's own words */
void nct_chat_content(nct_chat_writer *w, const char *s, size_t n); /* the caller's */
/** Fails with NCT_E_ARGUMENT. */
void nct_chat_fail(nct_chat_writer *w, const char *fmt, ...) NCT_PRINTF(2, 3);

/** A value, as content: as Jinja's tojson spells it; as Python's str does; as Python's repr does. */
void nct_chat_json(nct_chat_writer *w, const nct_json *value);
void nct_chat_python(nct_chat_writer *w, const nct_json *value);
void nct_chat_python_literal(nct_chat_writer *w, const nct_json *value);

/** One entry of tool_calls, {"function": {"name", "arguments"}} or the inner object. Arguments may be an
 *  object or, as the OpenAI format has it, the JSON text of one. On failure name is "" and arguments NULL. */
typedef struct nct_chat_call {
    const char *name;
    const nct_json *arguments; /* object, NULL: none */
    nct_json *owned;
} nct_chat_call;
void nct_chat_call_open(nct_chat_writer *w, const nct_json *call, nct_chat_call *parsed);
void nct_chat_call_close(nct_chat_call *parsed);

/** The section "# Functions" of minicpm3_tools, as content where it comes from the definitions. */
void nct_chat_python_tools(nct_chat_writer *w, const nct_json *tools);

#endif
