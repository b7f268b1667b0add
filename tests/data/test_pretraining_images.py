from types import SimpleNamespace

import pyarrow as pa

from diffvqa.data.index import Rows
from diffvqa.data.pretraining_images import LeftOut, pretraining_images


def _rows(patients):
    subjects, splits = zip(*patients, strict=True)
    return Rows(pa.table({"subject_id": subjects, "split": splits}), SimpleNamespace)


def test_patients_with_questions_in_validate_or_test_are_not_pretrained_on():
    images = _rows([("1", "train"), ("2", "train"), ("3", "test"), ("2", "train"), ("4", "train")])
    questions = _rows([("1", "train"), ("2", "train"), ("2", "test"), ("3", "test")])
    store = SimpleNamespace(images=images, questions=questions)
    assert pretraining_images(store) == ([0, 4], LeftOut(images=2, patients=1))
    assert pretraining_images(store, keep_evaluation_patients=True) == ([0, 1, 3, 4], LeftOut(0, 0))
