#include "text/chat_write.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

/* ------------------------------------------------------------------ the writer */

static void add(nct_chat_writer *w, const char *s, size_t n) {
    if (w->status == NCT_OK)
        w->status = nct_bytes_add(&w->out->text, s, n, w->err);
}

static void add_str(nct_chat_writer *w, const char *s) { add(w, s, strlen(s)); }

void nct_chat_content(nct_chat_writer *w, const char *s, size_t n) { add(w, s, n); }

void nct_chat_markup(nct_chat_writer *w, const char *s) {
    nct_chat_text *out = w->out;
    size_t begin = out->text.n;
    add_str(w, s);
    if (w->status != NCT_OK || !*s)
        return;
    nct_span *last = out->n_markup ? &out->markup[out->n_markup - 1] : NULL;
    if (last && last->end == begin) {
        last->end = out->text.n;
        return;
    }
    void *p = out->markup;
    w->status = nct_grow(&p, &out->markup_capacity, out->n_markup + 1, sizeof *out->markup, w->err);
    if (w->status != NCT_OK)
        return;
    out->markup = p;
    out->markup[out->n_markup++] = (nct_span){begin, out->text.n};
}

void nct_chat_fail(nct_chat_writer *w, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (w->status == NCT_OK)
        w->status = nct_fail(w->err, NCT_E_ARGUMENT, "%s", text);
}

/* ------------------------------------------------------------------ values */

void nct_chat_json(nct_chat_writer *w, const nct_json *value) {
    if (w->status == NCT_OK)
        w->status = nct_json_write(value, true, &w->out->text, w->err);
}

/* Characters that Python's repr escapes, above ASCII: separators, format characters, private use. Those
   that no Unicode version has assigned would be too, and are not. */
static bool is_hidden(uint32_t c) {
    static const uint32_t ranges[][2] = {
        {0x7f, 0xa0},       {0xad, 0xad},        {0x600, 0x605},   {0x61c, 0x61c},   {0x6dd, 0x6dd},
        {0x70f, 0x70f},     {0x1680, 0x1680},    {0x180e, 0x180e}, {0x2000, 0x200f}, {0x2028, 0x202f},
        {0x205f, 0x206f},   {0x3000, 0x3000},    {0xe000, 0xf8ff}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},
        {0xe0000, 0xe007f}, {0xf0000, 0x10ffff},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return true;
    return false;
}

static void python_string(nct_chat_writer *w, const char *s) {
    const char *quote = strchr(s, '\'') && !strchr(s, '"') ? "\"" : "'";
    add_str(w, quote);
    for (size_t n = strlen(s), i = 0, length; i < n; i += length) {
        uint32_t c;
        char escape[16];
        length = nct_utf8_decode(s + i, n - i, &c);
        if (length == 0) {
            add_str(w, NCT_REPLACEMENT);
            length = 1;
        } else if (c == (uint32_t)*quote || c == '\\') {
            snprintf(escape, sizeof escape, "\\%c", (char)c);
            add_str(w, escape);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            add_str(w, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        } else if (c < 0x20 || is_hidden(c)) {
            snprintf(escape, sizeof escape,
                     c < 0x100     ? "\\x%02x"
                     : c < 0x10000 ? "\\u%04x"
                                   : "\\U%08x",
                     (unsigned)c);
            add_str(w, escape);
        } else {
            add(w, s + i, length);
        }
    }
    add_str(w, quote);
}

void nct_chat_python_literal(nct_chat_writer *w, const nct_json *value) {
    if (nct_json_is_string(value)) {
        python_string(w, nct_json_string(value, ""));
    } else if (nct_json_is_bool(value)) {
        add_str(w, nct_json_bool(value, false) ? "True" : "False");
    } else if (nct_json_is_number(value)) {
        nct_chat_json(w, value);
    } else if (nct_json_is_array(value) || nct_json_is_object(value)) {
        bool object = nct_json_is_object(value);
        add_str(w, object ? "{" : "[");
        for (const nct_json *item = nct_json_first(value); item; item = nct_json_next(item)) {
            if (object) {
                python_string(w, nct_json_key(item));
                add_str(w, ": ");
            }
            nct_chat_python_literal(w, item);
            if (nct_json_next(item))
                add_str(w, ", ");
        }
        add_str(w, object ? "}" : "]");
    } else {
        add_str(w, "None");
    }
}

void nct_chat_python(nct_chat_writer *w, const nct_json *value) {
    const char *s = nct_json_string(value, NULL);
    if (s)
        add_str(w, s);
    else
        nct_chat_python_literal(w, value);
}

/* ------------------------------------------------------------------ calls */

void nct_chat_call_open(nct_chat_writer *w, const nct_json *call, nct_chat_call *parsed) {
    *parsed = (nct_chat_call){.name = ""};
    const nct_json *function = nct_json_get(call, "function");
    function = function ? function : call;
    const char *name = nct_json_string(nct_json_get(function, "name"), NULL);
    const nct_json *arguments = nct_json_get(function, "arguments");
    if (!name) {
        nct_chat_fail(w, "a tool call has no name");
        return;
    }
    if (nct_json_is_string(arguments)) {
        const char *text = nct_json_string(arguments, "");
        nct_status status = nct_json_parse("arguments", text, strlen(text), &parsed->owned, w->err);
        if (status == NCT_E_MEMORY && w->status == NCT_OK)
            w->status = status;
        else if (status != NCT_OK)
            nct_chat_fail(w, "the arguments of the call of '%.80s' are not valid JSON", name);
        arguments = parsed->owned;
    }
    if (arguments && !nct_json_is_object(arguments)) {
        nct_chat_fail(w, "the arguments of the call of '%.80s' are no JSON object", name);
        arguments = NULL;
    }
    parsed->name = name;
    parsed->arguments = arguments;
}

void nct_chat_call_close(nct_chat_call *parsed) {
    nct_json_close(parsed->owned);
    *parsed = (nct_chat_call){.name = ""};
}

/* ------------------------------------------------------------------ Python stubs */

/* What a Jinja condition takes for true. */
static bool truthy(const nct_json *value) {
    return nct_json_first(value) || nct_json_bool(value, false) || *nct_json_string(value, "") ||
           nct_json_number(value, 0) != 0;
}

static bool lists(const nct_json *array, const char *name) {
    for (const nct_json *item = nct_json_first(array); item; item = nct_json_next(item))
        if (strcmp(nct_json_string(item, ""), name) == 0)
            return true;
    return false;
}

/* Jinja's title filter: words begin after white space, '-' and opening brackets. Letters are ASCII's. */
static void add_title(nct_chat_writer *w, const char *name) {
    bool begins = true;
    for (; *name; name++) {
        char c = *name;
        bool parts = strchr(" -({[<\t\n\v\f\r\x1c\x1d\x1e\x1f", c) != NULL;
        if (begins && c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        else if (!begins && c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        begins = parts;
        add(w, &c, 1);
    }
}

static const nct_json *enum_of(const nct_json *spec) {
    const nct_json *options = nct_json_get(spec, "enum");
    return nct_json_first(options) ? options : NULL;
}

static const nct_json *properties_of(const nct_json *spec) {
    const nct_json *properties = nct_json_get(spec, "properties");
    return nct_json_first(properties) ? properties : NULL;
}

static bool is_type(const nct_json *spec, const char *type) {
    return strcmp(nct_json_string(nct_json_get(spec, "type"), ""), type) == 0;
}

static void add_type(nct_chat_writer *w, const char *name, const nct_json *spec);

/* The Python type of a JSON type; spec holds the rest of the definition, NULL for one of several types. */
static void add_type_of(nct_chat_writer *w, const char *name, const nct_json *type, const nct_json *spec) {
    static const char *const basic[][2] = {
        {"string", "str"}, {"number", "float"}, {"integer", "int"}, {"boolean", "bool"}, {"null", "None"},
    };
    const char *s = nct_json_string(type, NULL);
    for (size_t i = 0; s && i < sizeof basic / sizeof *basic; i++)
        if (strcmp(s, basic[i][0]) == 0) {
            add_str(w, basic[i][1]);
            return;
        }
    if (s && strcmp(s, "array") == 0) {
        add_str(w, "List[");
        add_type(w, name, nct_json_get(spec, "items"));
        add_str(w, "]");
    } else if (s && strcmp(s, "object") == 0 && properties_of(spec)) {
        add_title(w, name);
    } else if (s && strcmp(s, "object") == 0) {
        add_str(w, "Dict[str, ");
        add_type(w, name, nct_json_get(spec, "additionalProperties"));
        add_str(w, "]");
    } else if (s) {
        nct_chat_fail(w, "the parameter '%.80s' has the type '%.80s', which is none of JSON's", name, s);
    } else if (!type || nct_json_is_array(type)) { /* no type at all is a union of none */
        add_str(w, "Union[");
        for (const nct_json *item = nct_json_first(type); item; item = nct_json_next(item)) {
            add_type_of(w, name, item, NULL);
            if (nct_json_next(item))
                add_str(w, ", ");
        }
        add_str(w, "]");
    } else {
        add_str(w, "Any");
    }
}

static void add_type(nct_chat_writer *w, const char *name, const nct_json *spec) {
    if (enum_of(spec))
        add_title(w, name);
    else
        add_type_of(w, name, nct_json_get(spec, "type"), spec);
}

static void add_default(nct_chat_writer *w, const nct_json *spec) {
    const nct_json *value = nct_json_get(spec, "default");
    if (nct_json_is_string(value))
        nct_chat_json(w, value);
    else
        nct_chat_python_literal(w, value);
}

static void add_field(nct_chat_writer *w, const char *indent, const nct_json *field, bool required) {
    static const char *const notes[][2] = {
        {"description", ", description="}, {"pattern", ", regex="}, {"title", ", title="}};
    const char *name = nct_json_key(field);
    add_str(w, indent);
    add_str(w, name);
    add_str(w, required ? ": " : ": Optional[");
    add_type(w, name, field);
    add_str(w, required ? "" : "]");
    bool noted = false;
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        noted = noted || truthy(nct_json_get(field, notes[i][0]));
    if (noted || !required)
        add_str(w, noted ? " = Field(" : " = ");
    if (!required)
        add_default(w, field);
    else if (noted)
        add_str(w, "...");
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        if (truthy(nct_json_get(field, notes[i][0]))) {
            add_str(w, notes[i][1]);
            nct_chat_json(w, nct_json_get(field, notes[i][0]));
        }
    add_str(w, noted ? ")\n" : "\n");
}

static void add_class(nct_chat_writer *w, const char *name, const char *base) {
    add_str(w, "\n\nclass ");
    add_title(w, name);
    add_str(w, base);
}

/* Writes the classes that the parameters need, then what `body` holds, then one line a parameter. */
static void add_object(nct_chat_writer *w, const nct_json *spec, const char *indent, nct_chat_writer *body) {
    const nct_json *properties = nct_json_get(spec, "properties"), *required = nct_json_get(spec, "required");
    if (properties && !nct_json_is_object(properties))
        nct_chat_fail(w, "the properties of a tool's parameters are no JSON object");
    for (const nct_json *field = nct_json_first(properties); field && nct_chat_ok(w);
         field = nct_json_next(field)) {
        const char *name = nct_json_key(field);
        const nct_json *options = enum_of(field),
                       *inner = is_type(field, "array") ? nct_json_get(field, "items") : field;
        if (options) {
            add_class(w, name, "(Enum):\n");
            size_t n = 0;
            for (const nct_json *option = nct_json_first(options); option; option = nct_json_next(option)) {
                char label[32];
                snprintf(label, sizeof label, "    enum_%zu = ", n++);
                add_str(w, label);
                nct_chat_json(w, option);
                add_str(w, "\n");
            }
        } else if (is_type(inner, "object") && properties_of(inner)) {
            nct_chat_text text = {0};
            nct_chat_writer nested = {.out = &text, .err = w->err};
            add_class(&nested, name, "(BaseModel):\n");
            add_object(w, inner, "    ", &nested);
            nct_chat_text_reset(&text);
        }
        add_field(body, indent, field, lists(required, name));
    }
    if (w->status == NCT_OK)
        w->status = body->status;
    if (body->out->text.n)
        add(w, body->out->text.data, body->out->text.n);
}

static void add_tool(nct_chat_writer *w, const nct_json *tool) {
    const nct_json *type = nct_json_get(tool, "type"), *function = nct_json_get(tool, "function");
    if (type && strcmp(nct_json_string(type, ""), "function") != 0)
        return;
    tool = function ? function : tool;
    const nct_json *parameters = nct_json_get(tool, "parameters"),
                   *properties = nct_json_get(parameters, "properties");
    const char *name = nct_json_string(nct_json_get(tool, "name"), NULL);
    if (!name) {
        nct_chat_fail(w, "a tool definition has no name");
        return;
    }
    nct_chat_text text = {0};
    nct_chat_writer head = {.out = &text, .err = w->err};
    add_str(&head, "\n\ndef ");
    add_str(&head, name);
    add_str(&head, "(");
    for (const nct_json *field = nct_json_first(properties); field; field = nct_json_next(field)) {
        add_str(&head, field == nct_json_first(properties) ? "" : ", ");
        add_str(&head, nct_json_key(field));
        if (!lists(nct_json_get(parameters, "required"), nct_json_key(field))) {
            add_str(&head, "=");
            add_default(&head, field);
        }
    }
    add_str(&head, "):\n    \"\"\"");
    add_str(&head, nct_json_string(nct_json_get(tool, "description"), ""));
    add_str(&head, truthy(parameters) ? "\n\n    Args:\n" : "\n");
    add_object(w, parameters, "        ", &head);
    add_str(w, "    \"\"\"\n");
    nct_chat_text_reset(&text);
}

void nct_chat_python_tools(nct_chat_writer *w, const nct_json *tools) {
    nct_chat_markup(
        w,
        "\n# Functions\nHere is a list of functions that you can invoke:\n```python\nfrom enum import Enum\n"
        "from typing import List, Dict, Optional\nfrom pydantic import BaseModel, Field\n\n");
    for (const nct_json *tool = nct_json_first(tools); tool && nct_chat_ok(w); tool = nct_json_next(tool))
        add_tool(w, tool);
    nct_chat_markup(
        w, "\n```\n\n# Function Call Rule and Output Format\n"
           "- If the user's question can be answered without calling any function, please answer the user's "
           "question directly. In "
           "this situation, you should return your thought and answer the user's question directly.\n"
           "- If the user cannot be answered without calling any function, and the user does not provide "
           "enough information to call "
           "functions, please ask the user for more information. In this situation, you should return your "
           "thought and ask the user "
           "for more information.\n"
           "- If the user's question cannot be answered without calling any function, and the user has "
           "provided enough information "
           "to call functions to solve it, you should call the functions. In this situation, the assistant "
           "should return your "
           "thought and call the functions.\n"
           "- Use default parameters unless the user has specified otherwise.\n"
           "- You should answer in the following format:\n\n"
           "<|thought_start|>\n"
           "{explain why the user's question can be answered without calling a function or why you should "
           "ask the user for more "
           "information or why you should call one or more functions and your plan to solve the user's "
           "question.}\n"
           "<|thought_end|>\n<|tool_call_start|>\n```python\n"
           "func1(params_name=params_value, "
           "params_name2=params_value2...)\nfunc2(params)\n```\n<|tool_call_end|>\n"
           "{answer the user's question directly or ask the user for more information}");
}
