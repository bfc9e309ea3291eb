"""Hugging Face checkpoint directories of this architecture: written from, and read into, the names
of model.py. Linear weights are float (F16) or INT4 in GPTQ's layout."""
import json
import os

import numpy as np
import torch

import model
import tokenizer

DTYPES = {"F16": np.float16, "F32": np.float32, "I32": np.int32}
LAYER_NAMES = {"norm_in": "input_layernorm", "norm_post": "post_attention_layernorm",
               "o": "self_attn.o_proj", "down": "mlp.down_proj"}


def parts(c, name):
    """Our name -> [(published name without .weight, rows or None for all of them)]"""
    if name in ("embed", "norm"):
        return [("model." + {"embed": "embed_tokens", "norm": "norm"}[name], None)]
    layer, leaf = name.split(".")
    stem, width, ff = "model.layers.%s." % layer, c["hidden_size"], c["intermediate_size"]
    kv = width // c["num_attention_heads"] * c["num_key_value_heads"]
    if leaf == "qkv":
        return [(stem + "self_attn.q_proj", slice(0, width)), (stem + "self_attn.k_proj", slice(width, width + kv)),
                (stem + "self_attn.v_proj", slice(width + kv, width + 2 * kv))]
    if leaf == "gate_up":
        return [(stem + "mlp.gate_proj", slice(0, ff)), (stem + "mlp.up_proj", slice(ff, 2 * ff))]
    return [(stem + LAYER_NAMES[leaf], None)]


def pack(codes):
    """codes [n, 8] of 0..15 -> int32 words, the first in the lowest bits"""
    shifted = codes.astype(np.uint32) << np.arange(0, 32, 4, dtype=np.uint32)
    return np.bitwise_or.reduce(shifted, axis=-1).view(np.int32)


def unpack(words):
    """-> the codes along a new last axis, as float32"""
    codes = words.view(np.uint32)[..., None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15
    return codes.astype(np.float32)


def gptq_tensors(codes, scales, group):
    """codes [out, in] around 8, scales [out, in / group] float16"""
    n_out, n_in = codes.shape
    return {"qweight": pack(codes.T.reshape(n_in // 8, 8, n_out).transpose(0, 2, 1)),
            "qzeros": np.full((n_in // group, n_out // 8), 0x77777777, np.int32),  # zero point 8, stored less one
            "scales": np.ascontiguousarray(scales.T).astype(np.float16),
            "g_idx": (np.arange(n_in) // group).astype(np.int32)}


def write_safetensors(path, tensors):
    names = {np.dtype(v): k for k, v in DTYPES.items()}
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    order = sorted(tensors, key=lambda n: (-tensors[n].itemsize, n))
    for name in order:
        a = tensors[name]
        header[name] = {"dtype": names[a.dtype], "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            f.write(np.ascontiguousarray(tensors[name]).tobytes())


def read_safetensors(path):
    raw = open(path, "rb").read()
    start = 8 + int.from_bytes(raw[:8], "little")
    out = {}
    for name, t in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            out[name] = np.frombuffer(raw[start + a:start + b], DTYPES[t["dtype"]]).reshape(t["shape"])
    return out


CHAT_TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
                 "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def published_config(c, group):
    out = {**c, "attention_bias": False, "torch_dtype": "float16", "use_cache": True}
    out.pop("quantization_config", None)
    if group:
        out["quantization_config"] = {
            "quant_method": "gptq", "bits": 4, "group_size": group, "sym": True, "desc_act": False,
            "static_groups": True, "true_sequential": True, "damp_percent": 0.01, "lm_head": False,
            "checkpoint_format": "gptq"}
    return out


def write(out, c, weights, vocab, quantized=None, group=None):
    """weights: our name -> float32 tensor. quantized: our name -> (codes, scales), replaces the float one."""
    os.makedirs(out, exist_ok=True)
    tensors = {}
    for name, w in weights.items():
        for stem, rows in parts(c, name):
            rows = rows or slice(None)
            if quantized and name in quantized:
                codes, scales = (a[rows] for a in quantized[name])
                tensors.update({"%s.%s" % (stem, k): a for k, a in gptq_tensors(codes, scales, group).items()})
            else:
                tensors[stem + ".weight"] = w[rows].numpy().astype(np.float16)
    write_safetensors(os.path.join(out, "model.safetensors"), tensors)
    special = lambda s: {"content": s, "lstrip": False, "normalized": False, "rstrip": False,
                         "single_word": False, "special": True}
    tok = tokenizer.tokenizer_json(tokenizer.load(vocab))
    files = {
        "config.json": published_config(c, group),
        "generation_config.json": {"bos_token_id": c["bos_token_id"], "eos_token_id": c["eos_token_id"], "do_sample": True,
                                   "temperature": 0.8, "top_p": 0.9},
        "tokenizer_config.json": {
            "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>",
            "unk_token": "<unk>", "clean_up_tokenization_spaces": False, "tokenizer_class": "LlamaTokenizerFast",
            "model_max_length": c["max_position_embeddings"], "chat_template": CHAT_TEMPLATE,
            "added_tokens_decoder": {str(t["id"]): special(t["content"]) for t in tok["added_tokens"]}},
        "tokenizer.json": tok,
    }
    for name, content in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            if name == "tokenizer.json":  # a vocabulary entry or merge a line
                json.dump(content, f, ensure_ascii=False, separators=(",\n", ":"))
            else:
                json.dump(content, f, indent=2)
            f.write("\n")


def read(path):
    """-> config, {our name: float32 tensor}"""
    with open(os.path.join(path, "config.json")) as f:
        c = json.load(f)
    t, out = read_safetensors(os.path.join(path, "model.safetensors")), {}
    for name, shape in model.shapes(c):
        rows = []
        for stem, _ in parts(c, name):
            if stem + ".weight" in t:
                rows.append(t[stem + ".weight"].astype(np.float32))
            else:
                codes = unpack(t[stem + ".qweight"]).transpose(0, 2, 1).reshape(-1, t[stem + ".qweight"].shape[1])
                scales = t[stem + ".scales"].astype(np.float32)[t[stem + ".g_idx"]]
                rows.append(((codes - 8) * scales).T)
        out[name] = torch.from_numpy(np.ascontiguousarray(np.concatenate(rows))).view(shape)
    return c, out
