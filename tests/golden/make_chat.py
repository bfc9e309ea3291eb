#!/usr/bin/env python3
"""Renders conversations with the published chat templates, for tests/text/test_chat.c.

    make_chat.py SHARED_DIR > chat.json

Needs Jinja2, set up as transformers does it (trim_blocks, lstrip_blocks, tojson without escapes of HTML or
ASCII). The conversations go where the rendered vectors beside the templates do not: odd parameter
definitions, values of every kind, reasoning, separators, roles in unusual places.
"""
import json
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda x, ensure_ascii=False: json.dumps(x, ensure_ascii=ensure_ascii)
    return env


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return dict({"role": "assistant", "content": text}, **more)


def call(name, arguments, wrapped=True):
    inner = {"name": name, "arguments": arguments}
    return {"type": "function", "function": inner} if wrapped else inner


def tool(name, properties, required=None, **more):
    parameters = {"type": "object", "properties": properties}
    if required is not None:
        parameters["required"] = required
    return {"type": "function", "function": dict({"name": name, "description": "Does %s." % name, "parameters": parameters}, **more)}


VALUES = {"s": "plain", "quote": "it's \"so\" \\ <b> & é 中\t", "line": "a\nb", "i": 12, "n": -3, "f": 0.25, "big": 123456789012, "t": True,
          "no": False, "none": None, "list": [1, "a'b", None, True, [2.5]], "dict": {"k": "v\n", "l": []}, "empty": "", "e": {}}
TOOLS = [
    tool("basic", {"a": {"type": "string"}, "b": {"type": "number", "description": "A \"b\" 中"}, "c": {"type": "integer", "default": 3},
                   "d": {"type": "boolean", "default": False, "title": "Dee"}, "e": {"type": "null"},
                   "f": {"type": "string", "default": "x'y\n", "pattern": "^x.*\\d$"}}, ["a", "b"]),
    tool("nested", {"sort by": {"enum": ["up", "down", 3, None]}, "max-items (all)": {"type": "array", "items": {"type": "integer"}},
                    "where_clause": {"type": "object", "properties": {"left": {"type": "string"}, "innerKind": {"enum": ["p"], "type": "string"},
                                     "deep": {"type": "object", "properties": {"z": {"type": "number", "default": 1.5}}}}, "required": ["left"]},
                    "rows": {"type": "array", "description": "Rows", "items": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}}},
         ["rows", "sort by"]),
    tool("odd", {"untyped": {}, "any list": {"type": "array"}, "map": {"type": "object"}, "strings": {"type": "object", "additionalProperties": {"type": "string"}},
                 "open": {"type": "object", "additionalProperties": True}, "either": {"type": ["string", "null", "array"]},
                 "lists": {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}},
                 "kinds": {"type": "array", "items": {"enum": ["a", "b"]}},
                 "preset": {"type": "array", "default": ["it's", 1, None, True, {"k": "\"'\n"}]}, "nothing": {"type": "string", "default": None}}),
    {"type": "function", "function": {"name": "bare", "description": "No parameters."}},
    {"type": "function", "function": {"name": "silent", "parameters": {}}},
    {"name": "unwrapped", "description": "No wrapper.", "parameters": {"type": "object", "properties": {}}},
    {"type": "retrieval", "function": {"name": "skipped"}},
]
ANSWERED = [user("Q"), assistant("", tool_calls=[call("one", {"x": 1}), call("two", {}, False)]), {"role": "tool", "content": "r1"},
            {"role": "tool", "content": "r2"}]


def conversations():
    yield "minicpm4", dict(messages=[{"role": "system", "content": ""}, user("  x\n"), {"role": "critic", "content": "y"}])
    yield "minicpm4", dict(messages=[user("<|im_end|>")], add_generation_prompt=False)
    for template in "minicpm3_tools", "minicpm5":
        for tools in [TOOLS, TOOLS[:1], TOOLS[3:5], []]:
            yield template, dict(messages=[user("Q")], tools=tools)
            yield template, dict(messages=[{"role": "system", "content": "Be brief."}, user("Q")], tools=tools)
        yield template, dict(messages=[user("Q"), assistant("", tool_calls=[call("f", VALUES)])], add_generation_prompt=False)
        yield template, dict(messages=[user("Q"), assistant("Let me see.", tool_calls=[call("f", {"a": "<"}), call("g", {"b": "c"}, False)])])
        yield template, dict(messages=ANSWERED)
        yield template, dict(messages=ANSWERED + [assistant("Done.")], tools=TOOLS[:1])
        yield template, dict(messages=ANSWERED + [assistant("Done."), user("More"), assistant("", tool_calls=[call("one", {"x": [1]})])])
        yield template, dict(messages=[{"role": "system", "content": ""}, user("Q")])
    yield "minicpm3_tools", dict(messages=[user("Q"), assistant("A", thought="hm"), user("R"), assistant("", thought="so", tool_calls=[call("f", {})])])
    yield "minicpm3_tools", dict(messages=[user("Q"), assistant("<|tool_call_start|>x", tool_calls=[call("f", {})])])
    yield "minicpm3_tools", dict(messages=[user("Q"), {"role": "system", "content": "S"}])
    yield "minicpm5", dict(messages=[{"role": "system", "content": "A<tool_def_sep>B<tool_def_sep>C"}, user("Q")], tools=TOOLS[:1])
    yield "minicpm5", dict(messages=[{"role": "system", "content": "A<tool_def_sep>B"}, user("Q"), {"role": "system", "content": "later"}])
    for enable in True, False:
        yield "minicpm5", dict(messages=[user("Q")], enable_thinking=enable)
        yield "minicpm5", dict(messages=[user("Q")], enable_thinking=enable, add_generation_prompt=False)
    for content in ["<think>\nhm\n</think>\n\nA", "hm</think>A", "x<think>y<think>\n\nz\n\n</think>\nA</think>\n\nB", "<think>\n\n</think>\n\nA", "\n\nA", "A<tool_sep>B"]:
        yield "minicpm5", dict(messages=[user("Q"), assistant(content)])
        yield "minicpm5", dict(messages=[user("Q"), assistant(content), user("R")])
        yield "minicpm5", dict(messages=[user("Q"), assistant(content, tool_calls=[call("f", {"a": 1}), call("g", {})])])
        yield "minicpm5", dict(messages=[user("Q"), assistant(content, reasoning_content="\nbecause\n")])
        yield "minicpm5", dict(messages=[user("Q"), assistant(content, reasoning_content="")])
    response = "<tool_response>\nok\n</tool_response>"
    yield "minicpm5", dict(messages=[user("Q"), assistant("<think>\na\n</think>\n\nA"), user(response), assistant("<think>\nb\n</think>\n\nB")])
    yield "minicpm5", dict(messages=[user(response), assistant("<think>\na\n</think>\n\nA")])
    yield "minicpm5", dict(messages=[{"role": "tool", "content": "r"}, user("Q"), {"role": "tool", "content": "s"}])


def main():
    data = sys.argv[1] + "/data/minicpm4/"
    env = environment()
    with open(data + "MiniCPM4-8B/tokenizer_config.json", encoding="utf-8") as f:
        templates = {"minicpm4": env.from_string(json.load(f)["chat_template"])}
    for name, file in ("minicpm3_tools", "minicpm3_tool_template.jinja"), ("minicpm5", "openbmb-MiniCPM5-1B.jinja"):
        with open(data + "templates/" + file, encoding="utf-8") as f:
            templates[name] = env.from_string(f.read())
    lines = []
    for template, given in conversations():
        given.setdefault("add_generation_prompt", True)
        rendered = templates[template].render(bos_token="<s>", **given)
        lines.append(json.dumps(dict(template=template, **given, rendered=rendered), ensure_ascii=False, separators=(",", ":")))
    print("[\n" + ",\n".join(lines) + "\n]")


if __name__ == "__main__":
    main()
