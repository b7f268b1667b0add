"""Answers inputs line by line in a process of its own, which may crash or hang: python answer_one.py MODEL.

Reads one JSON object a line, the arguments of Answerer, or {"model": folder}; prints what came of it in one line.
"""

import json
import os
import sys

from diffvqa.answering.answerer import Answerer
from diffvqa.errors import InputError


def main() -> None:
    # What libraries print must not be taken for a line of ours.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    answerer = Answerer.from_pretrained(sys.argv[1])
    print("ready", file=lines)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = Answerer.from_pretrained(asked["model"]) if "model" in asked else answerer(**asked)
            said = "loaded" if "model" in asked else f"answer {json.dumps(answer.as_dict())}"
        except InputError as error:
            said = f"refused {error}"
        except Exception as error:
            said = f"CRASH {type(error).__name__} {error}"
        print(" ".join(said.split()), file=lines)


if __name__ == "__main__":
    main()
