#!/usr/bin/env python3
"""Makes fasttext/: small classifiers trained with fastText 0.9.2, documents, and what it says of them.

    make_fasttext.py [FOLDER]       needs the program fasttext (Debian: fasttext)

Words and documents are made up from a seed. Training with one thread is repeatable on one machine; elsewhere
models may differ in their last bits, and scores.json then belongs to those.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "fasttext")
random.seed(11)

SYLLABLES = "ba du ki lo mé nä pi so tu wa 中 文 好 xe zo fé".split()
words = ["".join(random.choice(SYLLABLES) for _ in range(random.randint(1, 4))) for _ in range(130)]
kinds = {"good": words[:70], "bad": words[40:110], "odd": words[90:]}


def document(kind, n):
    return " ".join(random.choice(kinds[kind]) for _ in range(n))


train = []
for i in range(900):
    kind = random.choice(["good"] * 5 + ["bad"] * 3 + ["odd"])
    train.append("__label__%s %s" % (kind, document(kind, random.randint(2, 14))))
documents = [document(random.choice(list(kinds)), random.randint(1, 30)) for _ in range(40)]
documents += ["", "unseen", words[0], "  two   spaces ", "tab\tand\rreturn\x0bor\x0c feed", "__label__good " + words[1],
              "__label__none " + words[2], "x" * 90, "ünïcödé " + words[3], words[5] + words[6]]

models = {
    "softmax": "-loss softmax -wordNgrams 2 -bucket 60",
    "subwords": "-loss softmax -wordNgrams 3 -minn 2 -maxn 4 -bucket 90",
    "tree": "-loss hs -wordNgrams 2 -bucket 60",
    "all": "-loss ova -minn 1 -maxn 3 -bucket 60",
    "negative": "-loss ns",
    "quantised": "-loss softmax -wordNgrams 2 -minn 2 -maxn 3 -bucket 300",
}
os.makedirs(folder, exist_ok=True)
scores = {"documents": documents, "models": {}}
with tempfile.TemporaryDirectory() as scratch:
    text, asked, base = (os.path.join(scratch, name) for name in ("train", "asked", "model"))
    open(text, "w").write("\n".join(train) + "\n")
    open(asked, "w", newline="\n").write("\n".join(documents) + "\n")
    for name, options in models.items():
        common = ["-input", text, "-output", base, "-thread", "1", "-verbose", "0"]
        subprocess.run(["fasttext", "supervised", *common, "-dim", "5", "-epoch", "6", "-lr", "0.3", "-minCount", "2",
                        *options.split()], check=True, stderr=subprocess.DEVNULL)
        file = name + ".bin"
        if name == "quantised":
            subprocess.run(["fasttext", "quantize", *common, "-qnorm", "-retrain", "-cutoff", "280", "-epoch", "2"],
                           check=True, stderr=subprocess.DEVNULL)
            file = name + ".ftz"
        path = os.path.join(folder, file)
        open(path, "wb").write(open(base + file[-4:], "rb").read())
        said = subprocess.run(["fasttext", "predict-prob", path, asked, "-1", "0"], check=True, capture_output=True)
        lines = said.stdout.decode().split("\n")[:-1]
        assert len(lines) == len(documents), (len(lines), len(documents))
        scores["models"][file] = [dict(zip(line.split()[::2], map(float, line.split()[1::2]))) for line in lines]
with open(os.path.join(folder, "scores.json"), "w") as out:
    json.dump(scores, out, ensure_ascii=False, indent=0)
    out.write("\n")
