#!/usr/bin/env python3
"""Turn stories, instructions, Chinese and made-up tasks into training rows, beside those of the books.

    mix.py TEXT VOCAB RUN [--task-rows 8000] [--seed 1]     TEXT: the folder with the samples; RUN has train.npy

Writes RUN/stories_valid.txt and RUN/{stories,asked,instruct,chinese,again,tasks,short}.npy, uint16 [rows, 1025] as data.py does. MASK says that the token is
read but is no target: hidden facts cannot be foretold, nor can what a user asks. HEAVY are answers that the text holds, and the
beginnings of others.

    stories   TinyStories, as text and as what is summed up in a line
    asked     the same as answers to "Tell a story about ..."
    instruct  worked sums, one-sentence summaries of abstracts, self-instruct's seeds, as chat turns
    chinese   the histories
    again     passages, words in no order, numbers and tokens drawn by chance, each said two to four times
    tasks     a text of books or of lines in which facts are hidden, then questions about them; a row is a task. Some rows are short sums
              and small talk, which says what the model is, and of what it was not told that it does not know
    short     the same in half a row

Facts come in many forms, over keys drawn from the books' words, and are asked for in a chat or by a sentence left open. What
`noctule eval needle` and LongEval's lines say ("special magic number", "REGISTER_CONTENT") is in none of them, nor are their words
keys: with these forms the model is measured.
"""
import argparse
import json
import math
import multiprocessing
import os
import re

import numpy as np

import tokenizer
from data import HEAVY, LENGTH, MASK, load

BEGINNING = 6    # tokens of a long answer
HELD_BACK = 300  # stories at the end of the second sample, for measuring
UNSEEN = set("amber basil cedar delta ember fjord garnet harbor indigo juniper kestrel lantern maple nectar onyx pepper quartz "
             "raven saffron tulip umber velvet willow zephyr special magic".split())

NOUNS = ("pass key|secret code|access code|room number|telephone number|lucky number|ticket number|code word|weight|price|score|"
         "account number|house number|number of the box|combination|serial number|age|result|order number|key").split("|")
FACTS = ["The {n} of {k} is {v}.", "The {n} for {k} is {v}.", "The {n} for {k} is: {v}.", "{k}: the {n} is {v}.",
         "Remember that {k} has the {n} {v}.", "It was written that the {n} of {k} was {v}.", "Here the {n} of {k} is {v}.",
         "Note: the {n} for {k} is {v}, remember it.", "For {k}, the {n} is {v}.", "A {n} of {k} is: {v}.",
         "Another {n} for {k} is {v}.", "Some {n} belongs to {k}: {v}.", "The {n} that belongs to {k} is {v}.",
         "People say that the {n} for {k} is {v}.", "There is a {n} for {k}; it is {v}.", "By the way, the {n} of {k} was: {v}.",
         "In {k} they had a {n}, and it was {v}.", "{n} for {k}: {v}.", "({k}, {n}: {v})", "To {k} the {n} {v} was given.",
         "Do not forget: the {n} of {k} is {v}!", "The {n} that they gave to {k} was {v}.", "One {n}, that of {k}, is {v}."]
ASKS = ["What is the {n} of {k}?", "What is the {n} for {k}?", "What is the {n} for {k} in the text?", "Tell me the {n} of {k}.",
        "Which {n} does {k} have?", "What {n} has {k}? Answer with the number.", "Give the {n} for {k}.",
        "What was the {n} of {k}? Answer only with it.", "Find the {n} of {k} in the text above.",
        "Do you remember the {n} of {k}?", "In the text there is a {n} for {k}. What is it?", "I need the {n} that belongs to {k}.",
        "{k}: which {n}?", "The text tells the {n} of {k}. Say it.", "Please give me the {n} of {k}. Just that.",
        "What is the {n} which the text gives for {k}?", "Of {k}, what is the {n}? Only the number or the word."]
SENTENCE = [" Answer in a sentence.", " Say it in a whole sentence.", " Use a sentence."]  # else the answer is the value alone
OPEN = ["The {n} of {k} is {v}", "The {n} for {k} is {v}", "The {n} for {k} in the text is {v}", "{k}: the {n} is {v}",
        "As the text says, the {n} of {k} is {v}", "The {n} of {k}: {v}"]
LINES = ["{k}: {v}", "{k} = {v}", "{k} - {v}", "{k} is {v}.", "entry {k} : {v}", "{k} -> {v}", "The value of {k} is {v}.", "{k} {v}"]
LINE_ASKS = ["What is {k}?", "What is the value of {k}?", "Which value has {k}?", "Tell me what stands beside {k}.", "{k}?",
             "What stands in the line of {k}?", "Look up {k}."]
INTROS = ["Read the text.", "Some facts are hidden in the text below. Remember them.", "There will be a question after this text.",
          "Here is a text.", "Find what is hidden here:", "Read this and remember the numbers."]
# small talk: what may be said, and the answers; {w} is any word, {N} any name
TALK = [
    ("Hello.|Hello!|Hi|Hi!|Hi there.|Hello there!|Good morning.|Good evening!|Good day.|Hey|Hello, how are you?|How are you?|How do you do?"
     "|Hello, I am {N}.|Hi, my name is {N}.|Is anybody there?|Are you there?|What's up?|Nice to meet you.",
     "Hello! I am a small model. I can tell you a story, or find a number in a text.|Hello! Shall I tell you a story?"),
    ("Who are you?|What are you?|What is your name?|Do you have a name?|Tell me about yourself.|Who made you?|Are you a person?"
     "|Are you a robot?|Introduce yourself.|How old are you?|Where are you from?|What model is this?",
     "I am Pipistrelle, a very small language model. I can tell stories and find numbers in a text.|I am a small language model. "
     "My name is Pipistrelle."),
    ("What can you do?|How can you help me?|Help|Help me.|What are you good at?|Can you help me?|What should I ask?|How does this work?"
     "|Can you help me with {w}?|I need your help.|What do you know?",
     "I can tell a story, find a number that is hidden in a long text, and do short sums. I know nothing else."),
    ("Thank you.|Thanks!|Thank you very much.|Many thanks.|That was good.|Well done!|Good.|Great!|Nice.|I liked that.|Very nice, thanks."
     "|That was a nice story.|You are very kind.", "You are welcome!|I am glad that you like it."),
    ("Goodbye.|Bye|Bye!|Good night.|See you later.|Farewell!|I have to go now.|That is all.|See you tomorrow.", "Goodbye!|Goodbye! Come again."),
    ("What is the capital of {N}?|Who was {N}?|Who wrote {N}?|When was {N} born?|Where is {N}?|What is {a} {w}?|Why is the {w} {w}?"
     "|How does {a} {w} work?|What is the meaning of {w}?|Explain {w}.|What do you think of {w}?|Translate \"{w}\" into French."
     "|How do I make {a} {w}?|What is the weather like?|What time is it?|What day is it today?|Who is the king of {N}?"
     "|What is the difference between {w} and {w}?|How many people live in {N}?|How far is it to {N}?|Do you like {w}?"
     "|Is {w} better than {w}?|How do computers work?|What is {w}?|Who invented the {w}?"
     "|Can {a} {w} fly?|What happened in 18{d}?|Who won the war?|Why?|Really?|Are you sure?"
     "|What did {N} say?|How tall is {N}?|What does {w} mean?|Give me a recipe for {w}.|Where can I buy {a} {w}?"
     "|Which is the largest {w}?|What colour is the {w}?|How old is {N}?|Define {w}.|Describe {a} {w}.|Is it true that {w} is {w}?",
     "I do not know that. I am a small model.|I do not know. I can tell you a story about it."),
]
STORY_ASKS = ["Tell a story about {s}.", "Tell me a story about {s}.", "Write a short story about {s}.", "A story about {s}, please.",
              "Can you tell a story about {s}?", "Tell me a story.", "Please tell me a story about {s}.", "Write a story about {s}.",
              "I would like to hear a story about {s}.", "Once more a story, about {s}.", "Tell me a short story about {s}.",
              "Make up a story about {s}.", "tell me a story about {s}", "Tell me another story.", "Write me a story with {s} in it.",
              "Could you tell me a story about {s}?", "Do you know a story about {s}?", "I want a story about {s}!", "Story about {s}",
              "A bedtime story about {s}, please.", "Let me hear a story about {s}.", "Now a story about {s}.", "Tell us a story of {s}.",
              "Write a story in which there is {s}.", "Please write a little story about {s}.", "Invent a story about {s}.",
              "Give me a story about {s}.", "Would you write a story about {s} for me?", "Tell a story.", "Write a story, please.",
              "Tell the story of {s}.", "My child wants a story about {s}.", "Write me a tale of {s}.", "Tell me a tale about {s}.",
              "Write something for my child about {s}.", "I am bored. Tell me a story.", "A story, please.", "Write a tale about {s}."]
ABOUT = ["What is this story about?", "Sum this up in a line.", "Give a one-line summary.", "What is this about, in one sentence?",
         "Summarise this in one sentence.", "Say in one line what happens here."]

ZH_NOUNS = ["密码", "号码", "代码", "房间", "价格", "年龄"]
ZH_FACTS = ["{k}的{n}是{v}。", "{k}的{n}为{v}。", "请记住，{k}的{n}是{v}。", "{n}：{k}，{v}。"]
ZH_ASKS = ["{k}的{n}是什么？", "{k}的{n}是多少？", "请问{k}的{n}是什么？"]
ZH_OPEN = ["{k}的{n}是{v}", "文中{k}的{n}是{v}"]


def read(path):
    with tokenizer.open_text(path) as f:
        return f.read()


class Text:
    """Token ids with their masks, put together in pieces."""

    def __init__(self, sp):
        self.sp, self.ids = sp, []

    def add(self, text, mark=0):
        self.ids += [i | mark for i in self.sp.encode(text)]
        return self

    def put(self, *ids):
        self.ids += ids
        return self

    def fact(self, form, n, k, v, mark, mark_value):
        head, tail = form.replace("{n}", n).replace("{k}", k).split("{v}")
        space = " " if head.endswith(" ") else ""
        self.add(head[:len(head) - len(space)], mark).add(space + v, mark_value).add(tail, mark)
        return self

    def user(self, question, mark=0):
        self.put(tokenizer.IM_START | MASK).add(" user\n", MASK).add(question, mark).put(tokenizer.IM_END | MASK).add(" \n", MASK)
        return self.put(tokenizer.IM_START | MASK).add(" assistant\n", MASK)

    def answer(self, text, mark=0):
        return self.add(text, mark).put(tokenizer.IM_END | mark)

    def told(self, text):
        """An answer that is long: how it begins says whether the question was understood, and is little among the rest."""
        ids = self.sp.encode(text)
        self.ids += [i | HEAVY for i in ids[:BEGINNING]] + ids[BEGINNING:]
        return self.put(tokenizer.IM_END)


def pack(documents, rng):
    """Documents in a shuffled order, one after another, cut into rows."""
    flat = np.array([i for d in rng.permutation(len(documents)) for i in documents[d]], np.uint16)
    n = (len(flat) - 1) // LENGTH
    return np.stack([flat[i * LENGTH:(i + 1) * LENGTH + 1] for i in range(n)])


# ---------------------------------------------------------------- texts

STOP = set("the and was were that with they have had said his her she him their there then when what this from would could very "
           "for but not all out one day are you big your into little went saw them like about time once upon who some wanted named "
           "lived loved liked made make because felt after before each every from happy sad did didn't so too back".split())


def subject(story, rng):
    """What a story is about: "a dog", "a girl named Lily"."""
    m = re.search(r"\b(boy|girl|dog|cat|bird|rabbit|bunny|bear|fish|frog|mouse|fox|duck) named ([A-Z][a-z]+)", story)
    if m and rng.rand() < 0.4:
        return "a %s named %s" % m.groups()
    nouns = re.findall(r"\b(?:a|an|the) (?:[a-z]+ )?([a-z]{3,})\b", story)
    nouns = [w for w in nouns if w not in STOP and nouns.count(w) > 1] or nouns[:1] or ["day"]
    some = list(dict.fromkeys(nouns))
    some = [some[i] for i in rng.permutation(len(some))[:1 + (rng.rand() < 0.25)]]
    return " and ".join("%s %s" % ("an" if word[0] in "aeiou" else "a", word) for word in some)


def summary(story):
    """-> a line that names who is in a story and the thing it tells of most, or none"""
    names = re.findall(r"(?<=[a-z,] )([A-Z][a-z]{2,})\b", story)
    names = sorted({n for n in names if names.count(n) > 1}, key=lambda n: (-names.count(n), n))[:2]
    who = re.search(r"\b(?:a|an) ((?:[a-z]+ )?(?:boy|girl|dog|cat|bird|rabbit|bunny|bear|fish|frog|mouse|fox|duck|man|woman))\b", story)
    words = [w for w in re.findall(r"\b(?:a|an|the) ([a-z]{3,})\b", story)
             if w not in STOP | {"mom", "dad", "family", "friends"} and not (who and w in who.group(1).split())
             and re.search(r"\b(?:a|an|the) %s[.,!?]" % w, story)]  # what ends a phrase is no adjective
    words = sorted({w for w in words if words.count(w) > 1}, key=lambda w: (-words.count(w), w))
    if not words or not (names or who):
        return None
    kind = ("an " if who.group(1)[0] in "aeiou" else "a ") + who.group(1) if who else ""
    first = names[0] + (", " + kind + "," if who else "") if names else kind
    return "A story about %s and the %s." % (" and ".join([first] + names[1:]), words[0])


def stories(sp, text_dir, rng, valid):
    """-> rows of texts, rows of answers; the stories held back go to the file `valid`."""
    golden = read(os.path.join(text_dir, "..", "stories", "golden_ppl_stories.txt"))
    golden = re.sub(r"\s+", " ", golden)
    first = [s.strip() for s in read(os.path.join(text_dir, "tinystories_v1_sample.txt.xz")).split("<|endoftext|>")]
    second = [s.strip() for s in read(os.path.join(text_dir, "tinystories_v2_sample.txt.xz")).split("<|endoftext|>")]
    second = [s for s in second if s]
    held = set(second[-HELD_BACK:])
    with open(valid, "w", encoding="utf-8") as f:
        f.write((tokenizer.END_OF_BOOK + "\n").join(s + "\n" for s in second[-HELD_BACK:]))
    kept = [s for s in first + second[:-HELD_BACK]
            if len(s) > 100 and s not in held and re.sub(r"\s+", " ", s)[:200] not in golden]
    out, asked = [], []
    for s in kept:
        s = re.sub(" *\n", "\n", s).replace("“", '"').replace("”", '"').replace("’", "'")
        out.append(Text(sp).put(tokenizer.BOS).add(" " + s).put(tokenizer.EOS).ids)
        ask = STORY_ASKS[rng.randint(len(STORY_ASKS))].replace("{s}", subject(s, rng))
        chat = Text(sp).put(tokenizer.BOS)
        if rng.rand() < 0.2:  # a greeting first
            said, answers = (x.split("|") for x in TALK[0])
            chat.user(said[rng.randint(len(said))].replace("{N}", "Lily"), MASK).told(answers[rng.randint(len(answers))]).add(" \n", MASK)
        chat.user(ask).told(s)
        if rng.rand() < 0.2:  # and thanks at the end
            said, answers = (x.split("|") for x in TALK[3])
            chat.add(" \n", MASK).user(said[rng.randint(len(said))], MASK).told(answers[rng.randint(len(answers))])
        asked.append(chat.ids)
        line = summary(s)
        if line:
            text = Text(sp).put(tokenizer.BOS)
            about = ABOUT[rng.randint(len(ABOUT))]
            text.user(about + "\n" + s if rng.rand() < 0.5 else s + "\n\n" + about, MASK).answer(line, HEAVY)
            out.append(text.ids)
    return pack(out, rng), pack(asked, rng)


def instruct(sp, text_dir, rng):
    out = []
    for item in json.loads(read(os.path.join(text_dir, "instruct", "gsm8k_train.json.xz"))):
        out.append(Text(sp).put(tokenizer.BOS).user(item["instruction"]).told(item["output"]).ids)
    for line in read(os.path.join(text_dir, "instruct", "scitldr_a_train.jsonl.xz")).splitlines():
        item = json.loads(line)
        ask = ["Summarise this in one sentence:", "Give a one-line summary.", "What is this about, in one sentence?"][rng.randint(3)]
        out.append(Text(sp).put(tokenizer.BOS).user(ask + "\n" + " ".join(item["source"])[:1800]).told(item["target"][0]).ids)
    for line in read(os.path.join(text_dir, "instruct", "self_instruct_seed_tasks.jsonl")).splitlines():
        item = json.loads(line)
        for case in item["instances"][:2]:
            out.append(Text(sp).put(tokenizer.BOS).user((item["instruction"] + "\n" + case["input"]).strip()).told(case["output"]).ids)
    return pack(out, rng)


def chinese(sp, text_dir, rng):
    """Twenty lines a document, both histories."""
    out = []
    for name in ("zh_modern_histories.txt.xz", "zh_classical_histories.txt.xz"):
        lines = [s for s in read(os.path.join(text_dir, name)).splitlines() if s and not s.startswith("#")]
        for i in range(0, len(lines) - 20, 20):
            out.append(Text(sp).put(tokenizer.BOS).add(" " + "\n".join(lines[i:i + 20])).put(tokenizer.EOS).ids)
    return pack(out, rng)


def again(tasks, n_rows):
    """-> rows of short pieces that are said again: what teaches to copy"""
    rng, n_pieces = tasks.rng, tokenizer.N_PIECES
    often = np.bincount(np.asarray(tasks.books[:4000]).reshape(-1), minlength=n_pieces)[:n_pieces].astype(float)
    often[:300] *= 0.2  # bytes and what stands before the words
    often = often ** 0.5 / (often ** 0.5).sum()
    out = np.zeros((n_rows, LENGTH + 1), np.uint16)
    for row in out:
        for half in (0, LENGTH // 2):
            ids = []
            while len(ids) < LENGTH // 2:
                n, kind = int(math.exp(rng.uniform(math.log(8), math.log(220)))), rng.randint(4)
                some = tasks.hay(n) if kind == 0 else rng.choice(n_pieces, n, p=often).tolist() if kind == 3 else \
                    tasks.sp.encode(" ".join(tasks.word() if kind == 1 else tasks.value() for _ in range(n)))[:n]
                ids += [tokenizer.BOS] + [i | MASK for i in some] + some * int(rng.randint(1, 4))
            row[half:half + LENGTH // 2] = ids[:LENGTH // 2]
    return out


# ---------------------------------------------------------------- tasks

class Tasks:
    def __init__(self, sp, books, zh, rng):
        self.sp, self.books, self.zh, self.rng = sp, books, zh, rng
        counts = {}
        for row in books[::9]:
            for w in sp.decode([int(i) for i in row[1:] if i]).split():
                if w.isascii() and w.isalpha() and w.islower() and 4 <= len(w) <= 9:
                    counts[w] = counts.get(w, 0) + 1
        self.words = [w for w in sorted(counts, key=lambda w: (-counts[w], w))[150:6000] if w not in UNSEEN]
        self.stop = {i for i in range(sp.get_piece_size()) if sp.id_to_piece(i) in (".", "!", "?", "。", "\n")}
        self.chars = [sp.id_to_piece(i) for i in range(tokenizer.N_PIECES + 20, tokenizer.N_PIECES + 700)]

    def word(self):
        return self.words[self.rng.randint(len(self.words))]

    def key(self, zh=False):
        if zh:
            return "".join(self.chars[self.rng.randint(len(self.chars))] for _ in range(2 + self.rng.randint(2)))
        r = self.rng.rand()
        return self.word() if r < 0.5 else self.word() + " " + self.word() if r < 0.65 else self.word() + "-" + self.word() \
            if r < 0.8 else self.word().capitalize() if r < 0.95 else "%s %d" % (self.word(), self.rng.randint(100))

    def value(self):
        if self.rng.rand() < 0.15:
            return self.word()
        n = 3 + self.rng.randint(7)
        return str(self.rng.randint(1, 10)) + "".join(str(d) for d in self.rng.randint(0, 10, n - 1))

    def noun(self, zh=False):
        if zh:
            return ZH_NOUNS[self.rng.randint(len(ZH_NOUNS))]
        r = self.rng.rand()
        return NOUNS[self.rng.randint(len(NOUNS))] if r < 0.5 else self.word() + " " + ["number", "code", "key", "word"][
            self.rng.randint(4)] if r < 0.8 else self.word() + " " + self.word() + " number"

    def pick(self, forms):
        return forms[self.rng.randint(len(forms))]

    def hay(self, n, zh=False):
        """n tokens of running text."""
        rows = self.zh if zh else self.books
        out = []
        while len(out) < n:
            row = rows[self.rng.randint(len(rows))]
            out += [int(i) for i in row if i > 2][self.rng.randint(200):]
        return out[:n]

    def hide(self, facts, n, zh=False):
        """n tokens of text with facts (lists of ids) between its sentences."""
        hay = self.hay(max(0, n - sum(map(len, facts))), zh)
        seams = [i + 1 for i, t in enumerate(hay) if t in self.stop] or [len(hay)]
        at = sorted(seams[self.rng.randint(len(seams))] for _ in facts)
        out, last = [], 0
        for place, fact in zip(at, facts):
            out += hay[last:place] + fact
            last = place
        return out + hay[last:]

    def facts(self, count, zh=False):
        """-> [(noun, key, value, ids of its sentence)]; nouns are often the same, so that the key decides."""
        same, out, noun = self.rng.rand() < 0.6, [], self.noun(zh)
        form = self.pick(ZH_FACTS if zh else FACTS)
        for _ in range(count):
            n, k, v = noun if same else self.noun(zh), self.key(zh), self.value()
            form = form if same else self.pick(ZH_FACTS if zh else FACTS)
            out.append((n, k, v, Text(self.sp).fact(form if zh else " " + form, n, k, v, MASK, MASK).ids))
        return out

    def head(self, chat):
        """How a text begins about which there will be questions."""
        head = Text(self.sp).put(tokenizer.BOS)
        if not chat:
            return head.add(" ").ids
        head.put(tokenizer.IM_START | MASK).add(" user\n", MASK)
        if self.rng.rand() < 0.7:
            head.add(self.pick(INTROS) + "\n\n", MASK)
        return head.ids

    def questions(self, facts, chat, zh=False, order=None):
        """-> a list of ids for each fact in a shuffled order or this one, to follow the text one after another."""
        tail = []
        for i in self.rng.permutation(len(facts)) if order is None else order:
            n, k, v, _ = facts[i]
            t = Text(self.sp)
            if chat:
                full = self.rng.rand() < 0.12
                ask = self.pick(ZH_ASKS if zh else ASKS).format(n=n, k=k) + (self.pick(SENTENCE) if full and not zh else "")
                if not tail:  # the text is part of the first turn
                    t.add("\n\n" + ask, MASK).put(tokenizer.IM_END | MASK).add(" \n", MASK)
                    t.put(tokenizer.IM_START | MASK).add(" assistant\n", MASK)
                else:
                    t.add(" \n", MASK).user(ask, MASK)
                t.answer(("%s的%s是%s。" if zh else "The %s of %s is %s.") % ((k, n, v) if zh else (n, k, v)) if full else v, HEAVY)
            else:
                t.add("\n" if self.rng.rand() < 0.7 else "\n\n")
                t.fact(self.pick(ZH_OPEN if zh else OPEN), n, k, v, MASK, HEAVY).add("。" if zh else ".")
            tail.append(t.ids)
        return tail

    def found(self, length):
        """Facts in a text, then questions."""
        zh, chat = self.rng.rand() < 0.12, self.rng.rand() < 0.6
        facts = self.facts(1 + self.rng.randint(10), zh)
        tail, head = self.questions(facts, chat, zh), self.head(chat)
        room = length - len(head) - sum(len(f[3]) for f in facts)
        while sum(map(len, tail)) > room // 2 and len(tail) > 1:
            tail.pop()
        return head + self.hide([f[3] for f in facts], length - len(head) - sum(map(len, tail)), zh) + sum(tail, [])

    def lines(self, length):
        """Lines of keys and values, then questions."""
        form, chat, known = self.pick(LINES), self.rng.rand() < 0.6, {}
        t = Text(self.sp).put(tokenizer.BOS)
        if chat:
            t.put(tokenizer.IM_START | MASK).add(" user\n", MASK)
        share = 0.4 + 0.4 * self.rng.rand()
        while len(t.ids) < share * length:
            k, v = self.key(), self.value()
            if k not in known:
                known[k] = v
                t.fact(form, "", k, v, MASK, MASK).add("\n", MASK)
        first = True
        while True:
            k = list(known)[self.rng.randint(len(known))]
            q = Text(self.sp)
            if chat:
                ask = self.pick(LINE_ASKS).format(k=k)
                if first:
                    q.add("\n" + ask, MASK).put(tokenizer.IM_END | MASK).add(" \n", MASK)
                    q.put(tokenizer.IM_START | MASK).add(" assistant\n", MASK)
                else:
                    q.add(" \n", MASK).user(ask, MASK)
                q.answer(known[k], HEAVY)
            else:
                q.add("\n", MASK).fact(form, "", k, known[k], MASK, HEAVY)
            if len(t.ids) + len(q.ids) > length:
                return t.ids
            t.ids += q.ids
            first = False

    def follows(self, length):
        """Which word follows these in the text?"""
        t, first = Text(self.sp).put(tokenizer.BOS, tokenizer.IM_START | MASK).add(" user\n", MASK), True
        hay = self.hay(int(length * (0.4 + 0.3 * self.rng.rand())))
        words = self.sp.decode(hay).split()[1:-1]
        t.ids += hay
        while True:
            i = self.rng.randint(len(words) - 4)
            q, ask = Text(self.sp), self.pick(["Which word follows \"%s\" in the text?", "What comes after \"%s\"?",
                                               "Which word comes next after \"%s\"?"]) % " ".join(words[i:i + 3])
            if first:
                q.add("\n\n" + ask, MASK).put(tokenizer.IM_END | MASK).add(" \n", MASK)
                q.put(tokenizer.IM_START | MASK).add(" assistant\n", MASK)
            else:
                q.add(" \n", MASK).user(ask, MASK)
            q.answer(words[i + 3].strip(".,;:!?\"“”()"), HEAVY)
            if len(t.ids) + len(q.ids) > length:
                return t.ids
            t.ids += q.ids
            first = False

    def sums(self, length):
        """Short sums and small questions, each a chat of its own."""
        out = []
        while True:
            a, b, kind = self.rng.randint(1, 21), self.rng.randint(1, 21), self.rng.randint(4)
            if kind == 0:
                ask, answer = "What is %d + %d?" % (a, b), a + b
            elif kind == 1:
                ask, answer = "What is %d - %d?" % (a + b, b), a
            elif kind == 2:
                a, b = self.rng.randint(1, 11, 2)
                ask, answer = "What is %d * %d?" % (a, b), a * b
            else:
                who, thing = self.word().capitalize(), self.pick(["apples", "books", "coins", "cards", "eggs"])
                ask, answer = "%s has %d %s and gets %d more. How many %s has %s?" % (who, a, thing, b, thing, who), a + b
            one = Text(self.sp).put(tokenizer.BOS).user(ask, MASK).answer(str(answer)).ids
            if len(out) + len(one) > length:
                return out
            out += one

    def talk(self, length):
        """Small talk, each a chat of one to three turns."""
        out = []
        while True:
            one = Text(self.sp).put(tokenizer.BOS)
            for turn in range(1 + self.rng.randint(3)):
                said, answers = TALK[self.rng.randint(len(TALK)) if self.rng.rand() < 0.75 else -1]
                ask, answer = self.pick(said.split("|")), self.pick(answers.split("|"))
                while "{w}" in ask:
                    w = self.word()
                    ask = ask.replace("{a}", "an" if w[0] in "aeiou" else "a", 1).replace("{w}", w, 1)
                ask = ask.replace("{N}", self.word().capitalize()).replace("{d}", str(self.rng.randint(10, 99)))
                if turn:
                    one.add(" \n", MASK)
                one.user(ask, MASK).told(answer)
            if len(out) + len(one.ids) > length:
                return out
            out += one.ids

    def row(self, length):
        r = self.rng.rand()
        make = self.found if r < 0.54 else self.lines if r < 0.82 else self.follows if r < 0.88 else self.sums if r < 0.97 else self.talk
        ids = make(length)[:length]
        return np.pad(np.array(ids, np.uint16), (0, length - len(ids)))


CHUNK = 500  # rows made with one seed


def some_tasks(job):
    """-> rows that are a task, and as many whose halves are"""
    vocab, run, seed, n = job
    tasks = Tasks(tokenizer.load(vocab), load(run, "train"), load(run, "chinese"), np.random.RandomState(seed))
    zero = np.zeros(1, np.uint16)  # the last token of a row is but a target
    return (np.stack([np.concatenate([tasks.row(LENGTH), zero]) for _ in range(n)]),
            np.stack([np.concatenate([tasks.row(LENGTH // 2), tasks.row(LENGTH // 2), zero]) for _ in range(n)]))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("text")
    ap.add_argument("vocab")
    ap.add_argument("run")
    ap.add_argument("--task-rows", type=int, default=8000)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    sp, rng = tokenizer.load(a.vocab), np.random.RandomState(a.seed)
    made = {"chinese": chinese(sp, a.text, rng)}
    made["stories"], made["asked"] = stories(sp, a.text, rng, os.path.join(a.run, "stories_valid.txt"))
    made["instruct"] = instruct(sp, a.text, rng)
    for name, rows in made.items():
        np.save(os.path.join(a.run, name + ".npy"), rows)
    made["again"] = again(Tasks(sp, load(a.run, "train"), load(a.run, "chinese"), rng), a.task_rows // 4)
    np.save(os.path.join(a.run, "again.npy"), made["again"])
    with multiprocessing.Pool() as pool:
        parts = pool.map(some_tasks, [(a.vocab, a.run, a.seed + 1 + i, min(CHUNK, a.task_rows - i))
                                      for i in range(0, a.task_rows, CHUNK)])
    made["tasks"], made["short"] = (np.concatenate(p) for p in zip(*parts))
    for name, rows in made.items():
        if name in ("tasks", "short"):
            np.save(os.path.join(a.run, name + ".npy"), rows)
        print("%-9s %6d rows, %.1f M tokens" % (name, len(rows), np.count_nonzero(rows) / 1e6), flush=True)


if __name__ == "__main__":
    main()
