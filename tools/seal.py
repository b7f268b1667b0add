"""Writes the digests of a model's files into its record, after they were changed on purpose: python tools/seal.py MODEL

Before, a folder whose files are not those of its record is refused; a model of an older version has no digests there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from diffvqa.sealed_folder import seal

if __name__ == "__main__":
    seal(Path(sys.argv[1]))
