#!/usr/bin/env python3
"""Measure the accept length of a draft: tokens a pass of the target, over greedy continuations of held-back books.

    accept.py NOCTULE MODEL HEAD BOOKS.txt[.xz] [--list FILE]... [--prompts 36] [--tokens 128] [--guess 3]

Prompts are the first 64 words of paragraphs spread evenly over the file. --guess 3 is a chain of three guesses, so at most four
tokens a pass. Without --list all tokens are scored; each --list is measured besides. Needs nothing but Python.
"""
import argparse
import json
import lzma
import os
import subprocess


def prompts(path, count):
    f = lzma.open(path, "rt", encoding="utf-8") if path.endswith(".xz") else open(path, encoding="utf-8")
    with f:
        lines = [line.split() for line in f]
    lines = [words[:64] for words in lines if len(words) >= 64]
    return [" ".join(lines[i * len(lines) // count]) for i in range(count)]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("noctule", "model", "head", "books"):
        ap.add_argument(name)
    ap.add_argument("--list", action="append", default=[])
    ap.add_argument("--prompts", type=int, default=36)
    ap.add_argument("--tokens", type=int, default=128)
    ap.add_argument("--guess", type=int, default=3)
    a = ap.parse_args()
    texts = prompts(a.books, a.prompts)
    for listed in [None] + a.list:
        steps, tokens = 0, 0.0
        for text in texts:
            command = [a.noctule, "run", "-m", a.model, "--raw", "--greedy", "--ignore-eos", "-n", str(a.tokens), "--json",
                       "--cache", "off", "--draft", a.head, "--drafter", "eagle", "--spec", str(a.guess + 1),
                       "-X", "spec.width=1", text]
            out = subprocess.run(command + (["--freq", listed] if listed else []), check=True, stdout=subprocess.PIPE,
                                 stdin=subprocess.DEVNULL).stdout
            spec = json.loads(out)["spec"]
            steps += spec["steps"]
            tokens += spec["steps"] * spec["mean_accept"]
        print("%-24s %.3f tokens a pass in %d passes" % (os.path.basename(listed) if listed else "all tokens",
                                                         tokens / steps, steps), flush=True)


if __name__ == "__main__":
    main()
