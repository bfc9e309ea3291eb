/** Tool calls in an answer: found in the form that the template asks the model for, and told as JSON (formats.md 11.3,
 *  11.4). What is not well-formed is no call and stays text.
 *
 *  The form of MiniCPM3 and 4 is Python between two markers, that of MiniCPM5 elements with parameters, whose values
 *  are text: the definitions of the tools say which of them are numbers and the like.
 */
#ifndef NCT_TEXT_CALLS_H
#define NCT_TEXT_CALLS_H

#include "base/bytes.h"

typedef enum nct_call_form {
    NCT_CALLS_NONE,
    NCT_CALLS_PYTHON,   /* <|tool_call_start|> name(key=value) <|tool_call_end|>, perhaps fenced */
    NCT_CALLS_ELEMENTS, /* <function name="name"><param name="key">value</param></function> */
} nct_call_form;

/** Takes the calls out of an answer (n bytes). *n_calls counts them; `calls` gets a JSON array as OpenAI's tool_calls
 *  (id, type, function {name, arguments as JSON text}) and `content` the rest of the text without white space around
 *  it. Both are the caller's, empty before, and stay so if there is no call. tools: the definitions as a JSON array, or
 *  NULL. */
nct_status nct_calls_read(nct_call_form form, const char *text, size_t n, const char *tools, nct_bytes *content,
                          nct_bytes *calls, size_t *n_calls, nct_error *err);

/** True of the pieces that are markup of calls: a stream of text shows them although they are special tokens. */
bool nct_calls_is_markup(const char *piece, size_t n);

#endif
