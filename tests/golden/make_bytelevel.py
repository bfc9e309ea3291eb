#!/usr/bin/env python3
"""A small byte-level tokenizer of MiniCPM5's kind, and what a plain implementation of its pipeline makes of texts, for
tests/text/test_bytelevel.c.

    make_bytelevel.py FOLDER        writes FOLDER/tokenizer.json and FOLDER/vectors.json

Needs the module regex (Debian: python3-regex). The implementation below is the textbook's: it splits with regex's own
engine and merges the best pair of a list again and again. Characters are of Unicode 13 and before, so that libraries
of different years agree about them.
"""
import json
import random
import sys
import unicodedata

import regex

DIGITS = r"\p{N}{1,3}"
WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
N_MERGES = 420
CORPUS = """The little bat flies in the dark by calling ahead and trusting only the echo. It's the same as before, isn't it?
They're reading the long text, and we've seen that it'll be read again; I'd say so. HELLO WORLD, Hello world, hello world!
def read(path, n=0):\n    for line in open(path):\n        if line.startswith("#"):\n            continue\n        n += 1\n    return n
<function name="weather"><param name="city">London</param></function>\n\n<think>\nthe user asks about the weather\n</think>
小蝙蝠在黑暗中飞行，它只相信回声。今天天气很好，我们去公园散步。你好，世界！小蝙蝠飞得很快。
Маленькая летучая мышь летает в темноте. Она доверяет только эху. Привет, мир!
Die kleine Fledermaus fliegt im Dunkeln; sie hört nur auf das Echo. Größe, Straße, Übung. Où est la bibliothèque? Élève, naïve.
0 1 2 10 12 100 123 1234 2024 3.14159 50% 1,000,000 x = y + z; a->b; i++; // comment\n\n\n  indented\n\ttabbed\r\nwindows\r\n
"""


def alphabet():
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


BYTE = alphabet()
BACK = {c: b for b, c in BYTE.items()}


def spell(text):
    return [BYTE[b] for b in text.encode("utf-8")]


def isolate(pattern, pieces):
    out = []
    for piece in pieces:
        at = 0
        for m in regex.finditer(pattern, piece):
            if m.end() == m.start():
                continue
            out += [piece[at:m.start()], m.group()]
            at = m.end()
        out.append(piece[at:])
    return [p for p in out if p]


def words(text):
    return isolate(WORDS, isolate(DIGITS, [text]))


def join(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
            out.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def train():
    texts = [spell(w) for w in words(CORPUS)]
    merges = []
    while len(merges) < N_MERGES:
        count = {}
        for t in texts:
            for pair in zip(t, t[1:]):
                count[pair] = count.get(pair, 0) + 1
        best = max(count, key=lambda p: (count[p], p))
        merges.append(best)
        texts = [join(t, best) for t in texts]
    return merges


# As MiniCPM5 has them: ends and markers, some of them special, some not; the first are in the vocabulary too.
FIRST = [("<s>", True), ("</s>", True), ("<think>", False), ("</think>", False), ("<function", True),
         ("</function>", True), ("<param", True), ("</param>", True)]
LAST = [("<|im_start|>", True), ("<|im_end|>", True), ("<unk>", True), ("/think", False), ("/no_think", False),
        ("<|im_end|>!", False)]
LATER = "later"  # an ordinary word that is normalized, so looked for behind all others


def make_tokenizer():
    merges = train()
    vocab = {}
    for token, _ in FIRST:
        vocab[token] = len(vocab)
    for b in range(256):
        vocab[BYTE[b]] = len(vocab)
    for a, b in merges:
        vocab[a + b] = len(vocab)
    vocab["Ġwhole"] = len(vocab)  # no merge leads to it: a word that is a piece is not merged
    added = []
    for i, (token, special) in enumerate(FIRST):
        added.append((i, token, special, False))
    for token, special in LAST:
        added.append((len(vocab) + len(added) - len(FIRST), token, special, False))
    added.append((added[-1][0] + 1, LATER, False, True))
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": n, "special": s} for i, t, s, n in added],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": DIGITS}, "behavior": "Isolated", "invert": False},
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": vocab, "merges": [list(m) for m in merges]},
    }


class Tokenizer:
    def __init__(self, data):
        self.vocab = data["model"]["vocab"]
        self.rank = {tuple(m): i for i, m in enumerate(data["model"]["merges"])}
        self.added = {t["content"]: t["id"] for t in data["added_tokens"]}
        self.special = {t["id"] for t in data["added_tokens"] if t["special"]}
        self.later = {t["content"] for t in data["added_tokens"] if t["normalized"]}
        self.piece = {i: p for p, i in self.vocab.items()}
        self.piece.update({i: p for p, i in self.added.items()})

    def cut(self, text, tokens):
        """[(piece, id or None)], the longest token at the leftmost place first."""
        out, at, begin = [], 0, 0
        tokens = sorted(tokens, key=len, reverse=True)
        while at < len(text):
            hit = next((t for t in tokens if text.startswith(t, at)), None)
            if hit is None:
                at += 1
                continue
            out += [(text[begin:at], None), (hit, self.added[hit])]
            at = begin = at + len(hit)
        return [p for p in out + [(text[begin:], None)] if p[0]]

    def encode_word(self, word):
        symbols = spell(word)
        if "".join(symbols) in self.vocab and "".join(symbols) not in self.added:
            return [self.vocab["".join(symbols)]]
        while True:
            ranked = [(self.rank[p], i) for i, p in enumerate(zip(symbols, symbols[1:])) if p in self.rank]
            if not ranked:
                return [self.vocab[s] for s in symbols]
            i = min(ranked)[1]
            symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]

    def encode_plain(self, text):
        return [i for w in words(text) for i in self.encode_word(w)]

    def encode(self, text):
        ids = []
        for piece, token in self.cut(text, set(self.added) - self.later):
            for part, late in [(piece, token)] if token is not None else self.cut(piece, self.later):
                ids += [late] if late is not None else self.encode_plain(part)
        return ids

    def decode(self, ids, skip):
        out = b""
        for i in ids:
            if skip and i in self.special:
                continue
            p = self.piece[i]
            out += p.encode("utf-8") if i in self.added.values() else bytes(BACK[c] for c in p)
        return out.decode("utf-8", errors="replace")


def fold(t, text):
    """What the authors of Ultra-FineWeb do to a document: see src/text/fold.h."""
    text = regex.sub(r"\n{3,}", "\n\n", text).lower()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")
    text = " ".join(t.decode([i], False) for i in t.encode(text))
    for sign, letter in ("\n", "n"), ("\r", "r"), ("\t", "t"):
        text = text.replace(sign, "\\" + letter)
    return regex.sub(r" +", " ", text).strip()


FOLDED = ["", " ", "\n\n\n\n", "Hello  World", "a\n\n\n\n\nb\r\n\tc", "ΟΔΥΣΣΕΥΣ Σ ΑΣ. ΑΣΑ Σ'Σ", "İstanbul ÉLÈVE Å ﬁ ½ ①",
          "ＦＵＬＬ　ｗｉｄｔｈ", "한국어 NAÏVE\u0301", "\u00a0 x \u3000", "\x1c\x85a\x1f", "a<s>B</S>", "小蝙蝠在黑暗中飞行。", "ᾼΣ", "ǅ ǈ ŒUVRE ẞ"]

TEXTS = [
    "", " ", "  ", "   x", "x  ", "\n", "\n\n", " \n \n x", "a\n\nb", "a \n b", "\t\tx", "\r\n\r\nx", "x\r\n",
    "hello world", "Hello World", "HELLO world's", "it's IT'S it'S we'Ve I'LL i'D 'sup '' 's", "don't'll've",
    "123", "1234567890", "1 22 333 4444", "x1y22z333", "3.14159", "1,000,000", "١٢٣٤", "Ⅷ½²³①⑳", "12½34",
    "今天天气很好，我们去公园。", "你好 世界", "小蝙蝠abc小蝙蝠", "Привет, мир!", "naïve élève", "e\u0301a\u0300", "Å Å ﬁ",
    "👩‍👩‍👧‍👦 🇬🇧 ☕️", "\u00a0x\u3000y\u2003z", "x\u200by", "\u1680a\u2028b\u2029c", "\x00\x01\x7f\x85x",
    "foo(bar)[0]->baz::qux != NULL; // ok", "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>\n",
    "a<s>b</s>c", "<think>\n\n</think>\n\n", "<function name=\"f\"><param name=\"x\">1</param></function>",
    "x<|im_end|>!y", "<|im_end|>", "/think", "/no_think now", "say /think", "later", "a later<s>laterx", " whole whole", "whole",
    "a" * 300, " " * 100, "=" * 70, "\n" * 40, "ab" * 100, "中" * 50, "'" * 9, "'ſ 'K", "\ue000\ufffd\U0010ffff",
    "…—–“quoted”‘single’", "a\u0345b", "ｆｕｌｌ１２３ｗｉｄｔｈ", "กข ค", "한국어 텍스트", "שלום עולם", "नमस्ते दुनिया",
]
POOL = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n\t\r'.,;:!?<>|/=_-+*()[]{}\"#%&@~^$\\`") + \
    list("  \n\n'") * 3 + list("éñßøÅŁ¿¡«»°±²³½¼×÷·…—–“”‘’€ſKİıΣσςǅʼˈَُ̧́̀١٢३४፩Ⅷⅷ①⑳㊿、。，！？（）【】中文字小蝙蝠天气日本語ひらがなカタカナ한국어" +
                             "Приветмирשלוםनमस्तेไทย🙂👩🏽‍🚀☕️🇬🇧\u00a0\u1680\u2003\u2028\u202f\u205f\u3000\u200b\u200d\u0085\ufeff\ufffd")
PHRASES = ["the ", " the", "'re", "'LL", "hello", " world", "小蝙蝠", "123", " 45", "\r\n", "    ", "return n", "<think>",
           "</think>", "<|im_end|>", "<|im_start|>", "<s>", "<function", "</param>", "/think", "later", " whole", "мышь"]


def random_text(rng):
    parts = []
    for _ in range(rng.randrange(1, 24)):
        parts.append(rng.choice(PHRASES) if rng.random() < 0.3 else rng.choice(POOL) * rng.choice([1, 1, 1, 2, 3]))
    return "".join(parts)


def main():
    folder = sys.argv[1]
    for c in POOL:
        assert unicodedata.category(c) != "Cn"
    data = make_tokenizer()
    with open(folder + "/tokenizer.json", "w", encoding="utf-8") as f:
        json.dump(data, f, ensure_ascii=False, indent=None, separators=(",", ":"))
        f.write("\n")
    t = Tokenizer(data)
    rng = random.Random(20260301)
    encode = []
    for text in TEXTS + [random_text(rng) for _ in range(400)]:
        ids = t.encode(text)
        plain = t.encode_plain(text)
        entry = {"text": text, "ids": ids}
        if plain != ids:
            entry["content"] = plain  # where markers are ordinary text
        assert t.decode(ids, False) == text and t.decode(plain, False) == text
        encode.append(entry)
    decode = []
    n = max(t.piece) + 1
    for _ in range(200):
        ids = [rng.randrange(n) if rng.random() < 0.5 else rng.randrange(8, 264) for _ in range(rng.randrange(1, 12))]
        decode.append({"ids": ids, "skip": t.decode(ids, True), "keep": t.decode(ids, False)})
    with open(folder + "/vectors.json", "w", encoding="utf-8") as f:
        folded = [{"text": x, "folded": fold(t, x)} for x in FOLDED + TEXTS + [random_text(rng) for _ in range(100)]]
        json.dump({"encode": encode, "decode": decode, "fold": folded}, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


main()
