#!/usr/bin/env python3
"""The texts that the built-in keep heads were trained on, one a line, as `membox distil` reads them.

    texts.py qmsum/*.jsonl crosswoz/*.json.zip > texts.txt                                          # all-MiniLM-L6-v2
    texts.py --chinese 4000 --held-out 150 qmsum/*.jsonl crosswoz/*.json.zip > multilingual.txt     # multilingual-e5-small

QMSum (https://github.com/Yale-LILY/QMSum, MIT): meetings, in English. CrossWOZ (https://github.com/thu-coai/CrossWOZ, Apache-2.0):
dialogues with a travel agent, in Chinese.
"""

import argparse
import json
import random
import re
import zipfile

def clean(text):
    """Without the transcribers' marks such as {disfmarker}, and with signs where a writer puts them."""
    text = re.sub(r"\{[^}]*\}", "", text)
    text = re.sub(r"\s+([,.?!;:])", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    few = "Chinese messages; with 500, the default, the English words' frequencies stay those of English text"
    parser.add_argument("--chinese", type=int, default=500, metavar="N", help=few)
    parser.add_argument("--held-out", type=int, default=0, metavar="N", help="first Chinese dialogues that are left out, to measure on")
    parser.add_argument("paths", nargs="+")
    args = parser.parse_args()
    chinese = []
    for path in args.paths:
        if path.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                dialogues = json.loads(archive.read(archive.namelist()[0]))
            chinese += [message["content"] for dialogue in list(dialogues.values())[args.held_out :] for message in dialogue["messages"]]
        else:
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    for turn in json.loads(line)["meeting_transcripts"]:
                        print(clean(turn["content"]))
    random.seed(1)
    for text in random.sample(chinese, min(args.chinese, len(chinese))):
        print(text.replace("\n", " "))


main()
