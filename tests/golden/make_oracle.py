#!/usr/bin/env python3
"""Makes what the golden tests compare with: make_oracle.py SHARED OUT

The reference's random checkpoints (SHARED/oracle/make_checkpoint.py), its logits at every position of the
sequences in SHARED/oracle/expected, NAME.f32 (little-endian, a row a position, sparse attention off), and the
same weights in other formats (tools/mkvariants.py). OUT/made is written last.
"""
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True  # SHARED may be read-only
shared, out = sys.argv[1:]
sys.path.insert(0, os.path.join(shared, "oracle"))
import make_checkpoint  # noqa: E402
from minicpm4_ref import MiniCPM4  # noqa: E402

MKVARIANTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/mkvariants.py")

for name in make_checkpoint.CONFIGS:
    make_checkpoint.make(out, name)


def logits(checkpoint, expected, to):
    with open(os.path.join(shared, "oracle/expected", expected + ".json")) as f:
        ids = json.load(f)["ids"]
    MiniCPM4(os.path.join(out, checkpoint), dense=True).forward(ids).astype("<f4").tofile(os.path.join(out, to + ".f32"))


for expected in ("tiny.48", "tiny-int4.48", "tiny-sparse.700", "tiny-switch.760"):
    logits(expected.rpartition(".")[0], expected, expected)



def variant(source, to, *form):
    subprocess.run([sys.executable, "-B", MKVARIANTS, os.path.join(out, source), os.path.join(out, to), "--to", *form],
                   check=True, stdout=subprocess.DEVNULL)


variant("tiny", "tiny.sharded", "sharded")
variant("tiny", "tiny.f32", "float", "--type", "F32")
variant("tiny", "tiny.bf16.gguf", "gguf", "--type", "BF16")
variant("tiny", "tiny.f32.gguf", "gguf", "--type", "F32")
variant("tiny-int4", "tiny-int4.sharded", "sharded")
variant("tiny-int4", "tiny-int4.v2", "gptq-v2")
variant("tiny-int4", "tiny-int4.act", "gptq-desc-act")
variant("tiny-int4", "tiny-int4.awq", "awq")
variant("tiny-int4", "tiny-int4.marlin2", "marlin")
variant("tiny-int4", "tiny-int4.q4_0.gguf", "gguf", "--type", "Q4_0")
variant("tiny-int4", "tiny-int4.f32.gguf", "gguf", "--type", "F32")
for name in "stories260K", "tinystories-656k":
    variant(os.path.join(shared, "data/stories", name + "-minicpm"), name + ".gguf", "gguf", "--type", "F32")

open(os.path.join(out, "made"), "w").close()
