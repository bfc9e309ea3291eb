#!/usr/bin/env python3
"""Turn books into training rows.

    data.py BOOKS.txt[.xz] VOCAB ROWS.npy      VOCAB: the folder tokenizer.py wrote

ROWS.npy is a uint16 array [rows, 1025]. A row is `<s>` and 1,024 tokens of running text that begins
with a paragraph, encoded just as a prompt is: U+2581 in front. The next row begins with the
paragraph the last one was cut in. A book ends with `</s>`, and the rest of its last row is zeros
(`<unk>`), which are no targets. The bits over ID are marks that mix.py makes: a token with MASK is no target, one with HEAVY
counts WEIGHT times. Row n of the file has as its half rows [0:513] and [512:1025], so the same rows serve lengths 512 and 1,024.
"""
import multiprocessing
import os
import sys

import numpy as np

import tokenizer

LENGTH = 1024
MASK, HEAVY, ID = 0x8000, 0x4000, 0x1FFF
WEIGHT = 6


def load(run, name):
    """The rows of a source in the folder of a run, mapped."""
    return np.load(os.path.join(run, name + ".npy"), mmap_mode="r")


def rows_of_book(sp, text):
    lines = text.strip("\n").split("\n")
    newline = sp.piece_to_id("\n")
    ids = [np.array(line + [newline], np.uint16) for line in sp.encode(lines)]
    ids[-1][-1] = tokenizer.EOS
    flat = np.concatenate(ids)
    ends = np.cumsum([len(line) for line in ids])  # where each line's tokens, its newline with them, end
    rows, first = [], 0
    while first < len(lines):
        if not lines[first]:
            first += 1
            continue
        head = [tokenizer.BOS] + sp.encode(" " + lines[first])
        row = np.concatenate([np.array(head, np.uint16), flat[ends[first] - 1:ends[first] + LENGTH]])[:LENGTH + 1]
        used = ends[first] - 1 + max(0, len(row) - len(head))  # the row's end in `flat`, where head fits
        rows.append(np.pad(row, (0, LENGTH + 1 - len(row))))
        if used >= len(flat):
            break
        first = max(first + 1, int(np.searchsorted(ends, used, side="right")))
    return rows


def encode_books(job):
    vocab, books = job
    sp = tokenizer.load(vocab)
    return [row for book in books for row in rows_of_book(sp, book)]


def encode(books, vocab, processes=os.cpu_count(), stretch=4):
    with tokenizer.open_text(books) as f:
        texts = f.read().split(tokenizer.END_OF_BOOK + "\n")
    texts = [t for t in texts if t.strip()]
    jobs = [(vocab, texts[i:i + stretch]) for i in range(0, len(texts), stretch)]
    with multiprocessing.Pool(processes) as pool:
        parts = pool.imap(encode_books, jobs)
        return np.array([row for part in parts for row in part], np.uint16)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    rows = encode(sys.argv[1], sys.argv[2])
    np.save(sys.argv[3], rows)
    print("%d rows, %.1f M tokens" % (len(rows), np.count_nonzero(rows) / 1e6))
