#!/usr/bin/env python3
"""Measure and try checkpoint directories.

    evaluate.py VOCAB BOOKS.txt[.xz] DIR... [--window 512] [--tokens N]    perplexity
    evaluate.py VOCAB --prompt TEXT DIR [--length 200] [--temp T --top-p P --seed S]

Perplexity: every book is encoded as one text and cut into windows; each window is preceded by `<s>`
and run on its own, and all of its tokens count. Arithmetic is float32. Bits per byte are over the
bytes of the same text. --tokens takes the first N tokens of every book only.
"""
import argparse
import math

import numpy as np
import torch

import checkpoint
import model
import tokenizer


def windows(sp, path, size, limit):
    """-> list of int arrays `<s>` + tokens, and how many bytes of text they hold"""
    with tokenizer.open_text(path) as f:
        books = [b for b in f.read().split(tokenizer.END_OF_BOOK + "\n") if b.strip()]
    out, n_bytes = [], 0
    for book in books:
        ids = [i for line in book.splitlines(keepends=True) for i in sp.encode(line)]
        head = sp.encode(" " + book.splitlines()[0])
        ids = (head + ids[len(sp.encode(book.splitlines()[0])):])[:limit]
        n_bytes += len(sp.decode(ids).encode()) if limit else len(book.encode())
        out += [[tokenizer.BOS] + ids[i:i + size] for i in range(0, len(ids), size)]
    return out, n_bytes


def perplexity(c, w, rows, size, batch=8):
    nats, n = 0.0, 0
    with torch.no_grad():
        for i in range(0, len(rows), batch):
            some = rows[i:i + batch]
            padded = torch.from_numpy(np.array([r + [0] * (size + 1 - len(r)) for r in some]))
            nats += float(model.loss_sum(c, w, padded, torch.float32))
            n += sum(len(r) - 1 for r in some)
    return nats, n


def generate(c, w, ids, length, temp, top_p, seed):
    draw = np.random.RandomState(seed)
    for _ in range(length):
        with torch.no_grad():
            h = model.hidden(c, w, torch.tensor([ids]), torch.float32)[0, -1]
        logits = (w["embed"] @ h).double().numpy()
        if temp == 0:
            ids = ids + [int(logits.argmax())]
        else:
            p = np.exp((logits - logits.max()) / temp)
            p /= p.sum()
            order = np.argsort(-p)
            keep = order[:int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1]
            ids = ids + [int(draw.choice(keep, p=p[keep] / p[keep].sum()))]
        if ids[-1] == tokenizer.EOS:
            break
    return ids


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("vocab")
    ap.add_argument("paths", nargs="+")
    ap.add_argument("--window", type=int, default=512)
    ap.add_argument("--tokens", type=int)
    ap.add_argument("--prompt")
    ap.add_argument("--length", type=int, default=200)
    ap.add_argument("--temp", type=float, default=0)
    ap.add_argument("--top-p", type=float, default=0.9)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    torch.set_num_threads(1)
    sp = tokenizer.load(a.vocab)
    if a.prompt is not None:
        c, w = checkpoint.read(a.paths[0])
        ids = [tokenizer.BOS] + sp.encode(" " + a.prompt)
        print(sp.decode(generate(c, w, ids, a.length, a.temp, a.top_p, a.seed)).lstrip(" "))
        return
    rows, n_bytes = windows(sp, a.paths[0], a.window, a.tokens)
    for path in a.paths[1:]:
        nats, n = perplexity(*checkpoint.read(path), rows, a.window)
        print("%s: %d tokens, %d bytes, %.4f nats a token, perplexity %.3f, %.4f bits a byte" %
              (path, n, n_bytes, nats / n, math.exp(nats / n), nats / math.log(2) / n_bytes), flush=True)


if __name__ == "__main__":
    main()
