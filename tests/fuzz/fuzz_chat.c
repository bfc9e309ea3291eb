/* A conversation: strings that end in NUL. The first is the checkpoint's template or a name, the second the
   tool definitions ("" for none), then role, content, reasoning and tool calls of each message. The first
   byte of all is the options. */
#include "text/chat.h"
#include "text_checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_STRINGS = 34 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_bytes copy = {0};
    if (size < 1)
        return 0;
    check(nct_bytes_add(&copy, data + 1, size - 1, NULL) == NCT_OK);
    const char *string[MAX_STRINGS];
    size_t n = 0;
    for (const char *at = copy.data, *end = copy.data + copy.n; n < MAX_STRINGS && at <= end;
         at += strlen(at) + 1)
        string[n++] = at;
    while (n < MAX_STRINGS)
        string[n++] = "";
    nct_message message[8] = {0};
    size_t n_messages = 0;
    for (size_t i = 2; i + 4 <= MAX_STRINGS && *string[i]; i += 4)
        message[n_messages++] = (nct_message){.role = string[i],
                                              .content = string[i + 1],
                                              .n_content = strlen(string[i + 1]),
                                              .reasoning = *string[i + 2] ? string[i + 2] : NULL,
                                              .tool_calls = *string[i + 3] ? string[i + 3] : NULL};
    nct_chat_options options = {.think = (nct_think)(data[0] % 3),
                                .tools = *string[1] ? string[1] : NULL,
                                .no_generation_prompt = data[0] >> 2 & 1};
    const char *warning;
    const nct_chat_template *chat = nct_chat_template_named(string[0]);
    chat = chat ? chat : nct_chat_template_find(string[0], NULL, &warning);
    nct_error err;
    nct_chat_text text = {0};
    if (chat && nct_chat_template_render(chat, "<s>", message, n_messages, &options, &text, &err) == NCT_OK) {
        check(text.text.data && text.text.data[text.text.n] == 0);
        for (size_t i = 0; i < text.n_markup; i++)
            check(text.markup[i].begin < text.markup[i].end && text.markup[i].end <= text.text.n &&
                  (i == 0 || text.markup[i - 1].end < text.markup[i].begin));
    }
    nct_chat_text_reset(&text);
    nct_bytes_reset(&copy);
    return 0;
}
