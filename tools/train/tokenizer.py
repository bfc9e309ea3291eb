#!/usr/bin/env python3
"""Train the vocabulary, and write it as a tokenizer.json of MiniCPM's kind.

    tokenizer.py BOOKS.txt[.xz] CHINESE.txt[.xz] OUT    writes OUT/pieces.model and OUT/tokenizer.json

A SentencePiece BPE model of 4,094 pieces of the books (256 of them bytes), the most frequent characters
of the Chinese text after them, and two added tokens last. Chinese characters join nothing, so that
English is encoded as by the 4,094 pieces alone. The pipeline of tokenizer.json is the one of the published MiniCPM models: the text gets a U+2581 in
front, spaces become U+2581, nothing else is normalised, characters outside the vocabulary become
bytes, and of the adjacent pairs the one whose piece has the lowest id is joined first. Newline and
tab are pieces of their own and never part of a longer one, digits stay single.
"""
import collections
import json
import lzma
import os
import sys

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

SPACE = "\u2581"
UNK, BOS, EOS = 0, 1, 2
N_PIECES = 4094
VOCAB_SIZE = 5120
ADDED = ["<|im_end|>", "<|im_start|>"]  # the last ids
IM_END, IM_START = VOCAB_SIZE - 2, VOCAB_SIZE - 1
SAMPLE_EVERY = 6                        # every sixth paragraph goes into the vocabulary's sample
END_OF_BOOK = "<|endofbook|>"


def open_text(path):
    return lzma.open(path, "rt", encoding="utf-8", newline="") if path.endswith(".xz") \
        else open(path, encoding="utf-8", newline="")


def train(books, chinese, out):
    os.makedirs(out, exist_ok=True)
    with open_text(books) as f:
        lines = [s for s in (line.rstrip("\n") for line in f) if s and s != END_OF_BOOK]
    ascii = "".join(map(chr, range(33, 127)))  # all of it is wanted, and must occur to be counted
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines[::SAMPLE_EVERY] + [ascii]), model_prefix=os.path.join(out, "pieces"),
        model_type="bpe", vocab_size=N_PIECES, byte_fallback=True, split_digits=True,
        character_coverage=0.99995, required_chars=ascii,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        user_defined_symbols=["\n", "\t"], max_sentence_length=1 << 16, num_threads=2,
        unk_id=UNK, bos_id=BOS, eos_id=EOS, pad_id=-1, minloglevel=1)
    path = os.path.join(out, "pieces.model")
    pieces = sentencepiece_model_pb2.ModelProto()
    with open(path, "rb") as f:
        pieces.ParseFromString(f.read())
    known, lowest = {p.piece for p in pieces.pieces}, min(p.score for p in pieces.pieces)
    with open_text(chinese) as f:
        counts = collections.Counter(f.read())
    new = sorted((c for c in counts if ord(c) >= 0x2000 and c not in known), key=lambda c: (-counts[c], c))
    for n, c in enumerate(new[:VOCAB_SIZE - len(ADDED) - N_PIECES]):
        pieces.pieces.add(piece=c, score=lowest - 1 - n)
    with open(path, "wb") as f:
        f.write(pieces.SerializeToString())


def load(out):
    return sentencepiece.SentencePieceProcessor(model_file=os.path.join(out, "pieces.model"))


def tokenizer_json(sp):
    """The vocabulary, and as merges every pair of pieces whose concatenation is a piece."""
    vocab = {sp.id_to_piece(i): i for i in range(sp.get_piece_size())}
    merges = []
    for piece, i in vocab.items():
        if not (sp.is_byte(i) or sp.is_control(i) or sp.is_unknown(i)):
            merges += [(i, piece[:n], piece[n:]) for n in range(1, len(piece))
                       if piece[:n] in vocab and piece[n:] in vocab]
    merges.sort(key=lambda m: m[0])
    vocab.update({s: len(vocab) + n for n, s in enumerate(ADDED)})
    added = [("<unk>", UNK), ("<s>", BOS), ("</s>", EOS)] + [(s, vocab[s]) for s in ADDED]
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for s, i in added],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": SPACE},
            {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing", "single": [bos, text("A", 0)],
            "pair": [bos, text("A", 0), {"SpecialToken": {"id": "<s>", "type_id": 1}}, text("B", 1)],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True,
                  "ignore_merges": False, "vocab": vocab, "merges": [[a, b] for _, a, b in merges]},
    }


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    train(sys.argv[1], sys.argv[2], sys.argv[3])
    with open(os.path.join(sys.argv[3], "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(tokenizer_json(load(sys.argv[3])), f, ensure_ascii=False, indent=0)
