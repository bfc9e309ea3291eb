/** Chat templates: turns of a conversation to one prompt (formats.md 11).
 *
 *  Checkpoints carry their template as Jinja text. It is not interpreted: the families' templates are
 *  renderers written here, and a checkpoint's text is recognised. Rendering marks which bytes are the
 *  template's own (its markup) and which came from the caller (content), so that encoding lets only the
 *  former act as tokens. The text is what the Jinja template would give.
 *
 *  To add a template: write its renderer and add a row to the list in chat.c.
 */
#ifndef NCT_TEXT_CHAT_H
#define NCT_TEXT_CHAT_H

#include "text/bpe.h"
#include "text/calls.h"

typedef struct nct_chat_template {
    const char *name;
    bool thinks; /* obeys nct_chat_options.think */
    bool tools;  /* has a place for tool definitions */
    nct_call_form calls; /* how it asks for tool calls */
} nct_chat_template;

static inline const char *nct_chat_template_name(const nct_chat_template *chat) { return chat->name; }

/** minicpm4, minicpm4.1, minicpm3_tools, minicpm5; NULL for another name. */
const nct_chat_template *nct_chat_template_named(const char *name);

/** The template whose text (Jinja, NUL-terminated) a checkpoint carries. NULL for no or empty text: the
 *  checkpoint has no template ("none"). *warning is NULL, or a sentence for the user: a text that is not
 *  known gives the nearest template; a vocabulary (NULL: not looked at) may lack the markers. */
const nct_chat_template *nct_chat_template_find(const char *text, const nct_vocab *vocab,
                                                const char **warning);

/** A rendered conversation. Zeroed is empty. */
typedef struct nct_chat_text {
    nct_bytes text;
    nct_span *markup; /* ascending, apart */
    size_t n_markup, markup_capacity;
} nct_chat_text;

/** Renders a conversation. An assistant's reasoning and tool calls are rendered where the template has a
 *  place for them; minicpm4 and minicpm4.1 borrow that of minicpm3_tools when there are tools or calls,
 *  and else ignore them. n_content 0 means up to the NUL. bos is the text of the BOS token for templates
 *  that write it, NULL for none. NCT_E_ARGUMENT: tools or tool_calls are not JSON of the expected shape,
 *  or the template has no place for a role. The caller resets *rendered. */
nct_status nct_chat_template_render(const nct_chat_template *chat, const char *bos,
                                    const nct_message *messages, size_t n_messages,
                                    const nct_chat_options *options, nct_chat_text *rendered, nct_error *err);
void nct_chat_text_reset(nct_chat_text *rendered);

/** Renders and encodes: markup as tokens, content as text (all as tokens with options.parse_special), and
 *  exactly one BOS in front if the tokenizer has one. *ids is the caller's, freed with nct_free. */
nct_status nct_chat_template_encode(const nct_chat_template *chat, const nct_vocab *vocab,
                                    const nct_message *messages, size_t n_messages,
                                    const nct_chat_options *options, int32_t **ids, size_t *n_ids,
                                    nct_error *err);

#endif
