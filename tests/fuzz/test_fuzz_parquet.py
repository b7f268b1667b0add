"""Tables of Parquet whose columns hold values of any kind: read, or refused for a reason."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from diffvqa.data import read_sources
from diffvqa.errors import InputError
from fuzz.mutations import CELLS, damage

TABLES, ROWS = 300, 4
ZONES = ("UTC", "Europe/Berlin", "+01:00", "No/Where")
KINDS = {
    pa.string(): lambda chance: chance.choice(CELLS),
    pa.binary(): lambda chance: chance.choice((chance.randbytes(3), b"A", "é".encode(), b"\xe9")),
    pa.timestamp("ns"): lambda chance: chance.randint(-(2**62), 2**62),
    pa.timestamp("us"): lambda chance: chance.randint(-(2**62), 2**62),
    **{pa.timestamp("ms", zone): lambda chance: chance.randint(-(2**40), 2**40) for zone in ZONES},
    pa.float64(): lambda chance: chance.choice((1.5, float("nan"), 1e300, 2.0**60, -0.0)),
    pa.date32(): lambda chance: chance.randint(-(2**31), 2**31 - 1),
    pa.time64("ns"): lambda chance: chance.randrange(86_400 * 10**9),
    pa.duration("ns"): lambda chance: chance.randint(-(2**62), 2**62),
    pa.list_(pa.int64()): lambda chance: [chance.randint(0, 9)],
    pa.bool_(): lambda chance: chance.random() < 0.5,
}


def column(chance):
    """Values of one kind, some of them missing."""
    kind = chance.choice(list(KINDS))
    return pa.array([KINDS[kind](chance) if chance.random() < 0.8 else None for _ in range(ROWS)], kind)


def test_tables_of_parquet(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)).save(tmp_path / name)
    counts = {"read": 0, "refused": 0}
    for seed in range(TABLES):
        chance = random.Random(seed)
        columns = {
            "patient": pa.array(["A", "A", "B", "B"]),
            "image": pa.array(["a.png", "b.png", "c.png", "a.png"]),
            **{name: pa.array([cell] * ROWS) for name, cell in (("datetime", "2024-01-01"), ("view", "PA"))},
        }
        for _ in range(chance.randint(1, 2)):
            columns[chance.choice(list(columns))] = column(chance)
        path = tmp_path / "images.parquet"
        pa.parquet.write_table(pa.table(columns), path)
        if chance.random() < 0.2:
            path.write_bytes(damage(path.read_bytes(), seed))
        try:
            read_sources([f"table:{tmp_path}"])
            counts["read"] += 1
        except InputError as error:
            counts["refused"] += 1
            assert "images.parquet: " in str(error), error  # noqa: PT017
    assert min(counts.values()) > 20, counts
