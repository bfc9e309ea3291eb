#!/usr/bin/env python3
"""Writes the weights of a checkpoint directory in another form, for tests: the same model, other files.

    mkvariants.py SRC OUT --to FORM [--type TYPE] [--shards N] [--flat-scores] [--seed N]

FORM             SRC            OUT
  sharded        any            directory with --shards N (3) weight files and an index
  float          any            directory with all weights in --type F32, F16 or BF16
  gguf           any            GGUF file, projections in --type: F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1
  gptq-v2        GPTQ int4      zero points stored as they are instead of less one
  gptq-desc-act  GPTQ int4      columns in act-order (a g_idx that jumps about)
  awq            GPTQ int4      AutoAWQ's layout, with zero points other than 8 where codes leave room
  marlin         GPTQ int4      CPM.cu's layout and names, q k v and gate up fused (symmetric sources)

SRC is a Hugging Face directory: F32, F16, BF16, or GPTQ int4 (v1). Formats: formats.md 4, 6, 8 of the
specification. Everything but `float` and `gguf` keeps each weight to the bit, as does a GGUF of a type
that holds the source: F32, and Q4_0 of a symmetric GPTQ source (its codes are copied).

gptq-desc-act cannot keep the order of columns and still have groups that jump about, since a group is a
scale. So it renumbers the hidden width, the feed-forward width and the entries of value heads at random,
in every matrix alike: the function is the same, and so are the logits but for the order of sums.

The weights of a GGUF that are no projections keep the source's type where --type is a block type.
Its tokenizer comes from tokenizer.json; --flat-scores writes -1000 for every score, as old converters did.
"""
import argparse
import glob
import json
import math
import os
import re
import shutil
import struct

import numpy as np

DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I32": np.int32, "I64": np.int64}
PROJECTIONS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj",
               "mlp.up_proj", "mlp.down_proj"]

# ------------------------------------------------------------------ safetensors
# A tensor is (dtype name, array); bf16 is held as uint16.


def read_directory(path):
    tensors = {}
    for file in sorted(glob.glob(os.path.join(path, "*.safetensors"))):
        with open(file, "rb") as f:
            raw = f.read()
        start = 8 + int.from_bytes(raw[:8], "little")
        for name, t in json.loads(raw[8:start]).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                tensors[name] = t["dtype"], np.frombuffer(raw[start + a:start + b], DTYPES[t["dtype"]]).reshape(t["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, a) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, a in tensors.values():
            f.write(np.ascontiguousarray(a).tobytes())


def widen(tensor):
    dtype, a = tensor
    return (a.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else a.astype(np.float32)


def narrow(a, dtype):
    a = np.ascontiguousarray(a, np.float32)
    if dtype == "BF16":  # to nearest, ties to even
        u = a.view(np.uint32)
        return dtype, ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16)
    return dtype, a.astype(DTYPES[dtype])


# ------------------------------------------------------------------ GPTQ int4
# A quantised matrix is a Quant: code [K, N], zero and scale [G, N], group [K] (the group of each row).


class Quant:
    def __init__(self, code, zero, scale, group):
        self.code, self.zero, self.scale, self.group = code, zero, scale, group

    def rows(self, order):  # along N: rows of the matrix
        return Quant(self.code[:, order], self.zero[:, order], self.scale[:, order], self.group)

    def columns(self, order):  # along K
        return Quant(self.code[order], self.zero, self.scale, self.group[order])

    def weight(self):
        """[N, K] float32, exact"""
        codes = self.code.astype(np.int32) - self.zero[self.group].astype(np.int32)
        return (codes.astype(np.float32) * self.scale.astype(np.float32)[self.group]).T


def pack(codes):
    """[..., 8] of 0..15 -> int32 words, the first in the lowest bits"""
    return np.bitwise_or.reduce(codes.astype(np.uint32) << np.arange(0, 32, 4, dtype=np.uint32), axis=-1).view(np.int32)


def unpack(words):
    return (words.view(np.uint32)[..., None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15).astype(np.uint8)


def read_gptq(tensors, stem):
    words = tensors[stem + ".qweight"][1]
    code = unpack(words).transpose(0, 2, 1).reshape(-1, words.shape[1])
    dtype, scale = tensors[stem + ".scales"]
    if dtype != "F16":
        raise SystemExit("%s.scales is %s, expected F16" % (stem, dtype))
    zero = unpack(tensors[stem + ".qzeros"][1]).reshape(len(scale), -1) + 1 & 15
    return Quant(code, zero, scale, tensors[stem + ".g_idx"][1])


def gptq(q, less=1):
    n_in, n_out = q.code.shape
    return {"qweight": ("I32", pack(q.code.reshape(n_in // 8, 8, n_out).transpose(0, 2, 1))),
            "qzeros": ("I32", pack((q.zero.astype(np.int32) - less & 15).reshape(len(q.zero), n_out // 8, 8))),
            "scales": ("F16", q.scale), "g_idx": ("I32", q.group.astype(np.int32))}


def awq(q):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    words = lambda a: pack(a.reshape(len(a), -1, 8)[..., order])
    return {"qweight": ("I32", words(q.code)), "qzeros": ("I32", words(q.zero)), "scales": ("F16", q.scale)}


def marlin(q):
    n_in, n_out = q.code.shape
    w, v = np.meshgrid(np.arange(2 * n_out), np.arange(8), indexing="ij")
    i, j = w % 128 >> 2, w & 3
    row, col = 2 * (i & 3) + (v >> 2) + 8 * (v & 1), 64 * (w // 128) + 16 * j + (i >> 2) + 8 * (v >> 1 & 1)
    words = pack(q.code.reshape(n_in // 16, 16, n_out)[:, row, col])
    n = np.arange(n_out)
    stored = (n & ~63) + 8 * (n & 7) + (n >> 3 & 7) if len(q.scale) > 1 else \
        (n & ~31) + 8 * ((n & 7) >> 1) + (n & 1) + 2 * (n >> 3 & 3)
    scale = np.empty_like(q.scale)
    scale[:, stored] = q.scale
    return {"qweight": ("I32", words), "scales": ("F16", scale)}


def shift_zeros(q, random):
    """The same weights with other zero points: codes and zero move together as far as 0..15 allows."""
    code, zero = q.code.astype(np.int32), q.zero.astype(np.int32)
    for g in range(len(zero)):
        mine = code[q.group == g]
        low = np.maximum(-mine.min(0), -zero[g])
        high = np.minimum(15 - mine.max(0), 15 - zero[g])
        by = random.integers(low, high + 1)
        code[q.group == g] += by
        zero[g] += by
    return Quant(code.astype(np.uint8), zero.astype(np.uint8), q.scale, q.group)


def renumber_groups(q, random):
    new = random.permutation(len(q.scale))
    old = np.argsort(new)
    return Quant(q.code, q.zero[old], q.scale[old], new[q.group])


# ------------------------------------------------------------------ a checkpoint


class Checkpoint:
    def __init__(self, path):
        self.path, self.tensors = path, read_directory(path)
        with open(os.path.join(path, "config.json")) as f:
            self.config = c = json.load(f)
        self.layers, self.heads = c["num_hidden_layers"], c["num_attention_heads"]
        self.kv_heads = c.get("num_key_value_heads") or self.heads
        self.head_dim = c.get("head_dim") or c["hidden_size"] // self.heads
        self.quantized = any(n.endswith(".qweight") for n in self.tensors)

    def stems(self):
        return ["model.layers.%d.%s" % (i, p) for i in range(self.layers) for p in PROJECTIONS]

    def quants(self):
        if not self.quantized:
            raise SystemExit("%s: holds no GPTQ int4, which this form needs" % self.path)
        return {s: read_gptq(self.tensors, s) for s in self.stems()}

    def plain(self):
        """What is no projection."""
        return {n: t for n, t in self.tensors.items() if not any("." + p + "." in n for p in PROJECTIONS)}

    def floats(self):
        """name -> (dtype, float32 array); projections of a quantised checkpoint have dtype None"""
        out = {n: (t[0], widen(t)) for n, t in self.plain().items()}
        for s in self.stems():
            out[s + ".weight"] = (None, read_gptq(self.tensors, s).weight()) if self.quantized else \
                (self.tensors[s + ".weight"][0], widen(self.tensors[s + ".weight"]))
        return out

    def save(self, out, files, config):
        """files: name -> tensors. Everything beside weights and config.json is copied."""
        os.makedirs(out, exist_ok=True)
        for name in os.listdir(self.path):
            side = ".safetensors" not in name and name != "config.json"
            if side and os.path.isfile(os.path.join(self.path, name)):
                shutil.copyfile(os.path.join(self.path, name), os.path.join(out, name))
        for name, tensors in files.items():
            write_safetensors(os.path.join(out, name), tensors)
        with open(os.path.join(out, "config.json"), "w") as f:
            json.dump(config, f, indent=1)

    def save_quants(self, out, plain, quants, layout, **quantization):
        tensors = dict(plain)
        for stem, q in quants.items():
            tensors.update({"%s.%s" % (stem, k): t for k, t in layout(q).items()})
        config = dict(self.config)
        config["quantization_config"] = {**config.get("quantization_config", {}), **quantization}
        self.save(out, {"model.safetensors": tensors}, config)


# ------------------------------------------------------------------ forms of a directory


def write_sharded(c, out, a):
    names = list(c.tensors)
    files = {"model-%05d-of-%05d.safetensors" % (i + 1, a.shards): {n: c.tensors[n] for n in names[i::a.shards]}
             for i in range(a.shards)}
    c.save(out, files, c.config)
    index = {"metadata": {"total_size": sum(t[1].nbytes for t in c.tensors.values())},
             "weight_map": {n: file for file, tensors in files.items() for n in tensors}}
    with open(os.path.join(out, "model.safetensors.index.json"), "w") as f:
        json.dump(index, f, indent=1)


def write_float(c, out, a):
    config = {k: v for k, v in c.config.items() if k != "quantization_config"}
    c.save(out, {"model.safetensors": {n: narrow(w, a.type) for n, (_, w) in c.floats().items()}}, config)


def write_gptq_v2(c, out, a):
    c.save_quants(out, c.plain(), c.quants(), lambda q: gptq(q, less=0), checkpoint_format="gptq_v2")


def write_awq(c, out, a):
    random = np.random.default_rng(a.seed)
    quants = {s: shift_zeros(q, random) for s, q in c.quants().items()}
    c.config = dict(c.config, quantization_config={"group_size": c.config["quantization_config"]["group_size"]})
    c.save_quants(out, c.plain(), quants, awq, quant_method="awq", bits=4, zero_point=True, version="gemm",
                  modules_to_not_convert=None)


def write_marlin(c, out, a):
    quants, fused = c.quants(), {}
    if any((q.zero != 8).any() for q in quants.values()):
        raise SystemExit("%s: has zero points other than 8, for which Marlin has no room" % c.path)
    groups = [("self_attn.qkv_proj", PROJECTIONS[:3]), ("self_attn.o_proj", PROJECTIONS[3:4]),
              ("mlp.gate_up_proj", PROJECTIONS[4:6]), ("mlp.down_proj", PROJECTIONS[6:])]
    for i in range(c.layers):
        for name, parts in groups:
            qs = [quants["model.layers.%d.%s" % (i, p)] for p in parts]
            join = lambda field: np.concatenate([getattr(q, field) for q in qs], axis=1)
            fused["model.layers.%d.%s" % (i, name)] = Quant(join("code"), join("zero"), join("scale"), qs[0].group)
    c.save_quants(out, c.plain(), fused, marlin)


def write_desc_act(c, out, a):
    random = np.random.default_rng(a.seed)
    quants, plain = c.quants(), {}
    hidden = random.permutation(c.config["hidden_size"])
    for name, (dtype, w) in c.plain().items():  # norms [H], embedding and head [V, H]
        plain[name] = dtype, w[..., hidden]
    for i in range(c.layers):
        ffn = random.permutation(c.config["intermediate_size"])
        entries = [random.permutation(c.head_dim) for _ in range(c.kv_heads)]
        value = np.concatenate([h * c.head_dim + e for h, e in enumerate(entries)])
        read = np.concatenate([h * c.head_dim + entries[h * c.kv_heads // c.heads] for h in range(c.heads)])
        orders = {"q_proj": (None, hidden), "k_proj": (None, hidden), "v_proj": (value, hidden), "o_proj": (hidden, read),
                  "gate_proj": (ffn, hidden), "up_proj": (ffn, hidden), "down_proj": (hidden, ffn)}
        for p in PROJECTIONS:
            stem = "model.layers.%d.%s" % (i, p)
            rows, columns = orders[p.rpartition(".")[2]]
            q = quants[stem].columns(columns)
            quants[stem] = renumber_groups(q if rows is None else q.rows(rows), random)
    c.save_quants(out, plain, quants, gptq, desc_act=True, static_groups=False)


# ------------------------------------------------------------------ GGUF

GGUF_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "BF16": 30}
GGUF_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
              "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
              "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    stem = name[:-len(".weight")]
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.*)", stem)
    return ("blk.%s.%s" % (layer[1], GGUF_NAMES[layer[2]]) if layer else GGUF_NAMES[stem]) + ".weight"


def halves(b):
    return np.ascontiguousarray(b, np.float16).view(np.uint8).reshape(len(b), -1)


def nibbles(q):
    return (q[:, :16] | q[:, 16:] << 4).astype(np.uint8)


def fifth_bits(q):
    return np.bitwise_or.reduce((q >> 4).astype(np.uint32) << np.arange(32, dtype=np.uint32), axis=1)[:, None].view(np.uint8)


def blocks(w, kind):
    """w [N, K] -> [N * K / 32, bytes of a block]"""
    x = w.reshape(-1, 32).astype(np.float64)
    safe = lambda d: np.where(d == 0, 1, d)
    if kind == "Q8_0":
        d = (np.abs(x).max(1, keepdims=True) / 127).astype(np.float16)
        q = np.clip(np.rint(x / safe(d.astype(np.float64))), -127, 127).astype(np.int8)
        return np.concatenate([halves(d), q.view(np.uint8)], axis=1)
    bits = int(kind[1])
    top = (1 << bits) - 1
    if kind.endswith("_0"):  # codes around the middle; the value largest in size gets the end with one more step
        d = (np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1) / -(1 << bits - 1)).astype(np.float16)
        q = np.clip(np.rint(x / safe(d.astype(np.float64))) + (1 << bits - 1), 0, top).astype(np.uint8)
        head = [halves(d)]
    else:
        m = x.min(1, keepdims=True).astype(np.float16)
        d = ((x.max(1, keepdims=True) - m.astype(np.float64)) / top).astype(np.float16)
        q = np.clip(np.rint((x - m.astype(np.float64)) / safe(d.astype(np.float64))), 0, top).astype(np.uint8)
        head = [halves(d), halves(m)]
    return np.concatenate(head + ([fifth_bits(q)] if bits == 5 else []) + [nibbles(q & 15)], axis=1)


def copied_blocks(q, rows):
    """Q4_0 blocks of a symmetric Quant, codes and scales untouched; None if it is not one of those"""
    starts = np.arange(0, len(q.group), 32)
    if (q.zero != 8).any() or len(q.group) % 32 or (q.group != np.repeat(q.group[starts], 32)).any():
        return None
    code, scale = q.code.T[rows].reshape(-1, 32), q.scale[q.group[starts]].T[rows].reshape(-1, 1)
    return np.concatenate([halves(scale), nibbles(code)], axis=1)


def string(s):
    b = s.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


def value(v):
    """A type number and a value: str, bool, int (u32), float (f32), or (element type, list)"""
    if isinstance(v, str):
        return struct.pack("<I", 8) + string(v)
    if isinstance(v, bool):
        return struct.pack("<IB", 7, v)
    if isinstance(v, int):
        return struct.pack("<II", 4, v)
    if isinstance(v, float):
        return struct.pack("<If", 6, v)
    kind, items = v
    body = b"".join(map(string, items)) if kind == 8 else np.array(items, {5: "<i4", 6: "<f4"}[kind]).tobytes()
    return struct.pack("<IIQ", 9, kind, len(items)) + body


def tokenizer_keys(path, config, flat):
    with open(os.path.join(path, "tokenizer.json"), encoding="utf-8") as f:
        t = json.load(f)
    pieces = {i: p for p, i in t["model"]["vocab"].items()}
    added = {x["id"]: x for x in t["added_tokens"]}
    pieces.update({i: x["content"] for i, x in added.items()})
    n = max(max(pieces) + 1, config["vocab_size"])
    unknown = t["model"].get("unk_token")

    def kind(i):  # 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
        if i not in pieces:
            return 5
        if pieces[i] == unknown:
            return 2
        if i in added:
            return 3 if added[i]["special"] else 4
        return 6 if re.fullmatch("<0x[0-9A-F]{2}>", pieces[i]) else 1

    eos = config.get("eos_token_id", 2)
    eos = eos if isinstance(eos, list) else [eos]
    keys = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": (8, [pieces.get(i, "[PAD%d]" % i) for i in range(n)]),
            "tokenizer.ggml.scores": (6, [-1000.0 if flat else -float(i) for i in range(n)]),
            "tokenizer.ggml.token_type": (5, [kind(i) for i in range(n)]),
            "tokenizer.ggml.bos_token_id": config.get("bos_token_id", 1), "tokenizer.ggml.eos_token_id": eos[0],
            "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": False}
    if len(eos) > 1:
        keys["tokenizer.ggml.eot_token_id"] = eos[1]
    if unknown is not None:
        keys["tokenizer.ggml.unknown_token_id"] = t["model"]["vocab"][unknown]
    side = os.path.join(path, "tokenizer_config.json")
    if os.path.exists(side):
        with open(side, encoding="utf-8") as f:
            template = json.load(f).get("chat_template")
        if isinstance(template, str):
            keys["tokenizer.chat_template"] = template
    return keys


def gguf_keys(c):
    k = c.config
    llama = k["architectures"][0] == "LlamaForCausalLM"
    a = "llama" if llama else "minicpm"
    keys = {"general.architecture": a, "general.name": os.path.basename(os.path.normpath(c.path)),
            a + ".block_count": c.layers, a + ".context_length": k["max_position_embeddings"],
            a + ".embedding_length": k["hidden_size"], a + ".feed_forward_length": k["intermediate_size"],
            a + ".vocab_size": k["vocab_size"], a + ".attention.head_count": c.heads,
            a + ".attention.head_count_kv": c.kv_heads, a + ".attention.key_length": c.head_dim,
            a + ".attention.value_length": c.head_dim, a + ".rope.dimension_count": c.head_dim,
            a + ".attention.layer_norm_rms_epsilon": float(k.get("rms_norm_eps", 1e-6)),
            a + ".rope.freq_base": float(k.get("rope_theta", 10000))}
    if not llama:
        keys["minicpm.embedding_scale"] = float(k.get("scale_emb", 1))
        keys["minicpm.residual_scale"] = k.get("scale_depth", 1) / math.sqrt(c.layers)
        keys["minicpm.logit_scale"] = k["hidden_size"] / k.get("dim_model_base", 1)
    if k.get("rope_scaling"):
        keys[a + ".rope.scaling.type"] = "longrope"
        keys[a + ".rope.scaling.original_context_length"] = k["rope_scaling"]["original_max_position_embeddings"]
    return keys


def write_gguf(c, out, a):
    tensors = {}  # name -> (type, shape, bytes)
    tied = c.config.get("tie_word_embeddings", c.config["architectures"][0] != "LlamaForCausalLM")
    for name, (dtype, w) in c.floats().items():
        stem = name[:-len(".weight")]
        if not name.endswith(".weight"):
            continue
        if tied and stem == "lm_head":
            if "model.embed_tokens.weight" in c.tensors:
                continue
            stem, name = "model.embed_tokens", "model.embed_tokens.weight"  # some exporters keep the other name
        rows = np.arange(len(w))
        heads = {"q_proj": c.heads, "k_proj": c.kv_heads}.get(stem.rpartition(".")[2])
        if heads:  # adjacent pairs instead of halves
            rows = rows.reshape(heads, 2, c.head_dim // 2).swapaxes(1, 2).ravel()
        kind, data = a.type, None
        if w.ndim == 1:
            kind = "F32"
        elif kind.startswith("Q") and stem not in c.stems():
            kind = dtype
        if kind == "Q4_0" and c.quantized:
            data = copied_blocks(read_gptq(c.tensors, stem), rows)
        if data is None:
            data = blocks(w[rows], kind) if kind.startswith("Q") else narrow(w[rows], kind)[1]
        tensors[gguf_name(name)] = kind, w.shape, data.tobytes()
    if c.config.get("rope_scaling"):
        for which in ("long", "short"):
            factors = np.array(c.config["rope_scaling"][which + "_factor"], np.float32)
            tensors["rope_factors_%s.weight" % which] = "F32", factors.shape, factors.tobytes()

    keys = {**gguf_keys(c), **tokenizer_keys(c.path, c.config, a.flat_scores)}
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    head += b"".join(string(k) + value(v) for k, v in keys.items())
    offset = 0
    for name, (kind, shape, data) in tensors.items():
        head += string(name) + struct.pack("<I%dQIQ" % len(shape), len(shape), *shape[::-1], GGUF_TYPES[kind], offset)
        offset += len(data) + -len(data) % 32
    with open(out, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        for _, _, data in tensors.values():
            f.write(data + b"\0" * (-len(data) % 32))


FORMS = {"sharded": write_sharded, "float": write_float, "gguf": write_gguf, "gptq-v2": write_gptq_v2,
         "gptq-desc-act": write_desc_act, "awq": write_awq, "marlin": write_marlin}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("source")
    ap.add_argument("out")
    ap.add_argument("--to", required=True, choices=FORMS)
    ap.add_argument("--type", default="F32", choices=GGUF_TYPES)
    ap.add_argument("--shards", type=int, default=3)
    ap.add_argument("--flat-scores", action="store_true")
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    if a.to == "float" and a.type not in DTYPES:
        ap.error("--to float has --type F32, F16 or BF16")
    FORMS[a.to](Checkpoint(a.source), a.out, a)
    print(a.out)


if __name__ == "__main__":
    main()
