#!/usr/bin/env python3
"""The texts that the built-in keep head was trained on, one a line, as `membox distil` reads them.

    texts.py qmsum/*.jsonl crosswoz/*.json.zip > texts.txt

QMSum (https://github.com/Yale-LILY/QMSum, MIT): meetings, in English. CrossWOZ (https://github.com/thu-coai/CrossWOZ, Apache-2.0):
dialogues with a travel agent, in Chinese.
"""

import json
import random
import re
import sys
import zipfile

CHINESE_TEXTS = 500  # so few that the English words' frequencies stay those of English text


def clean(text):
    """Without the transcribers' marks such as {disfmarker}, and with signs where a writer puts them."""
    text = re.sub(r"\{[^}]*\}", "", text)
    text = re.sub(r"\s+([,.?!;:])", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def main():
    chinese = []
    for path in sys.argv[1:]:
        if path.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                dialogues = json.loads(archive.read(archive.namelist()[0]))
            chinese += [message["content"] for dialogue in dialogues.values() for message in dialogue["messages"]]
        else:
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    for turn in json.loads(line)["meeting_transcripts"]:
                        print(clean(turn["content"]))
    random.seed(1)
    for text in random.sample(chinese, min(CHINESE_TEXTS, len(chinese))):
        print(text.replace("\n", " "))


main()
