#!/usr/bin/env python3
"""Look into a state while it is trained: can it copy, and does it answer what the text holds?

    probe.py RUN [--state FILE] [--length 512]     RUN: what mix.py wrote; FILE: RUN/state.pt if not named

Prints for each layer and head how much attention goes one token back, and how much to what followed the last occurrence of the present
token (a head that copies, arXiv:2209.11895), on a passage of 100 tokens said three times; how often the third time is foretold; and of each
kind of task, made anew, the loss and the share of right tokens in its answers.
"""
import argparse
import math
import os

import numpy as np
import torch

import mix
import model
import tokenizer
from data import ID, load

AGAIN = 100


def heads(c, w, rows):
    """rows [batch, 1 + n] of text with n > AGAIN"""
    piece = rows[:, 1:1 + AGAIN]
    rows = torch.cat([torch.full((len(rows), 1), tokenizer.BOS)] + [piece] * 3, 1)
    at = torch.arange(AGAIN + AGAIN // 2, 3 * AGAIN)

    def attention(layer, q, k, v):
        length, d = q.shape[-2:]
        a = torch.einsum("bkgtd,bksd->bkgts", q, k) / math.sqrt(d)
        a = a.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(1), -1e9).softmax(-1)
        for name, back in (("one back", 1), ("copies", AGAIN - 1)):
            share = a[:, :, :, at, at - back].mean((0, 3)).reshape(-1)
            print("layer %d  %-8s %s" % (layer, name, " ".join("%.2f" % x for x in share)))
        return torch.einsum("bkgts,bksd->bkgtd", a, v)

    h = model.hidden(c, w, rows, torch.float32, attention=attention)
    guess = (h[:, at[:-1]] @ w["embed"].t()).argmax(-1)
    print("the third time foretold: %.3f" % (guess == rows[:, at[1:]]).float().mean())


def answers(c, w, tasks, length, n=12):
    for kind in ("found", "lines", "follows", "sums"):
        rows = [getattr(tasks, kind)(length)[:length] for _ in range(n)]
        rows = torch.tensor([r + [0] * (length + 1 - len(r)) for r in rows])
        target, weight = model.targets(rows)
        logits = model.hidden(c, w, rows[:, :-1] & ID, torch.float32) @ w["embed"].t()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(target)
        keep = weight > (0 if kind == "sums" else 1)  # the answers
        print("%-8s %.3f nats, %.3f right of %d" % (kind, loss[keep].mean(), (logits.argmax(-1) == target)[keep].float().mean(), keep.sum()))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("run")
    ap.add_argument("--state")
    ap.add_argument("--length", type=int, default=512)
    a = ap.parse_args()
    torch.set_num_threads(1)
    state = torch.load(a.state or os.path.join(a.run, "state.pt"), map_location="cpu")
    c, w = state["config"], model.Weights(state["config"], state["flat"]).at
    print("step %d, %d tokens" % (state["step"], state["tokens"]))
    with torch.no_grad():
        heads(c, w, torch.from_numpy(load(a.run, "valid")[::300][:6].astype(np.int64)) & ID)
        sp = tokenizer.load(os.path.join(a.run, "vocab"))
        answers(c, w, mix.Tasks(sp, load(a.run, "train"), load(a.run, "chinese"), np.random.RandomState(77)), a.length)


if __name__ == "__main__":
    main()
