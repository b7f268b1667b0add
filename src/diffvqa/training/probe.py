"""Small probes that read findings, changes and places out of the patch tokens of a frozen encoder.

The probes are trained on the train split, stopped by the validation split, and asked about the test split. Their
predictions are written to a file, which `evaluation.probe_scores` scores.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from diffvqa.boxes import Box
from diffvqa.data.index import StoredImage
from diffvqa.data.store import Store
from diffvqa.errors import InputError
from diffvqa.files import write_text
from diffvqa.findings import DIFFERENCE_QUESTION, read_changes
from diffvqa.inference.features import encode_store
from diffvqa.models.folder import device
from diffvqa.models.probe_heads import BoxProbe, LabelProbe
from diffvqa.progress import progress_bar
from diffvqa.records import SPLITS, Question
from diffvqa.runs import Claim
from diffvqa.training.pretrained import Pretrained, read_pretrained

PREDICTIONS = "probe_predictions.jsonl"

MOST = {"train": 4000, "validate": 1000, "test": 4000}
"""Images, or pairs, of a split that are used; drawn where there are more."""

FEWEST = 5
"""A name is probed if so many of the training items, and one of the validation's, have it, and so many have not."""

BATCH, STEPS, CHECK_EVERY, PATIENCE, LEARNING_RATE = 64, 1500, 50, 5, 3e-3
SAME, APPEARED, VANISHED = range(3)
_WAYS = {"added": APPEARED, "missing": VANISHED}

Row = dict[str, Any]


@dataclass(frozen=True)
class Items:
    """The items that a probe is trained on or asked about: the images of each and, for each name, its target.

    images: identifiers, one or two each. targets: (items, names), classes; or (items, names, 4), boxes as shares of the
    side, NaN where there is none.
    """

    identifiers: Sequence[str]
    subjects: Sequence[str]
    images: Sequence[tuple[str, ...]]
    targets: np.ndarray


@dataclass(frozen=True)
class Probed:
    """The part of a store that probes use, and its encoded images: image identifier -> tokens.

    seed: of the drawing where there are more than MOST. left_out: patients of whom nothing is used. findings: by image
    identifier, in the place of those that the store has.
    """

    store: Store
    seed: int
    left_out: Set[str] = frozenset()
    findings: Mapping[str, Set[str]] | None = None
    features: Mapping[str, np.ndarray] = field(default_factory=dict)

    def images(self, splits: Sequence[str]) -> list[StoredImage]:
        """Images of these splits."""
        return self._some(self.store.images, splits)

    def findings_of(self, image: StoredImage) -> Collection[str]:
        """The findings of an image."""
        return image.findings if self.findings is None else self.findings[image.image_id]

    def pairs(self, splits: Sequence[str]) -> list[Question]:
        """Difference questions of these splits whose answers can be read in one way only."""
        asked = [one for one in self.store.questions if one.split in splits and one.text == DIFFERENCE_QUESTION]
        return self._some([one for one in asked if len(read_changes(one.answer)) == 1], splits)

    def _some(self, every: Iterable[Any], splits: Sequence[str]) -> list[Any]:
        drawn = []
        for split in splits:
            found = [one for one in every if one.split == split and one.subject_id not in self.left_out]
            if len(found) > MOST[split]:
                random = np.random.default_rng((self.seed, SPLITS.index(split)))
                found = [found[place] for place in sorted(random.choice(len(found), MOST[split], replace=False))]
            drawn += found
        return drawn

    def tokens(self, items: Items, places: np.ndarray) -> torch.Tensor:
        """(items, images, patches, width)."""
        found = [np.stack([self.features[image] for image in items.images[place]]) for place in places]
        return torch.from_numpy(np.stack(found)).to(device()).float()


def probe(
    encoder: str,
    store_folder: Path,
    out: Path,
    seed: int = 0,
    test_folder: Path | None = None,
    findings: Mapping[str, Set[str]] | None = None,
) -> None:
    """Probe the encoder in a folder of stage 1, or any vision model, into `out` (made with mode 0700).

    test_folder: another store to test on instead of the test split of the first. All its splits count, except patients
    whom the first has in train or validate. findings: of the first store's images, by identifier, where more is known
    of them than reports tell. A probe for which a store has nothing is a line with the reason. Raises InputError, also
    where `out` holds other probes.
    """
    stores = [Store.open(store_folder), *([Store.open(test_folder, "test_store")] if test_folder else [])]
    if len({store.size for store in stores}) > 1:
        raise InputError(
            "{store} and {test_store} hold images of different sizes; prepare them with one --size",
            mentions=("store", "test_store"),
        )
    pretrained = read_pretrained(encoder, stores[0].size)
    torch.manual_seed(seed)
    used = [
        Probed(stores[0], seed, findings=findings),
        *(Probed(store, seed, _learnt_from(stores[0])) for store in stores[1:]),
    ]
    inputs = {"encoder": pretrained.digest(), "store": stores[0].fingerprint, "test_store": stores[-1].fingerprint}
    with Claim("probe", out, {"seed": seed}, inputs, scratch=("features",)).held() as run:
        run.write(
            trained_on=list(stores[0].datasets),
            asked_about=list(stores[-1].datasets),
            left_out=len({image.subject_id for image in stores[-1].images} & set(used[-1].left_out)),
        )
        probed = [_encoded(pretrained, one, out / "features" / str(number)) for number, one in enumerate(used)]
        rows = [row for kind in (_probe_findings, _probe_changes, _probe_boxes) for row in kind(probed[0], probed[-1])]
        write_text(out / PREDICTIONS, "".join(json.dumps(row) + "\n" for row in rows))
        run.finish()


def _learnt_from(store: Store) -> set[str]:
    """The patients from whom probes learn, or with whom they are stopped."""
    learnt: list[StoredImage | Question] = [*store.images, *store.questions]
    return {one.subject_id for one in learnt if one.split != "test"}


def _encoded(pretrained: Pretrained, probed: Probed, folder: Path) -> Probed:
    pretrained.encoder.eval().to(device())
    wanted = {image.image_id for image in probed.images(SPLITS)}
    wanted |= {image for question in probed.pairs(SPLITS) for image in question.pair.images[:2]}
    with progress_bar("encode images") as progress:
        features = encode_store(pretrained, probed.store, wanted, folder, pretrained.digest(), progress)
    return replace(probed, features=features)


def _probe_findings(trained: Probed, asked: Probed) -> Iterator[Row]:
    """Whether an image's study has a finding: by the mean of the tokens, and by what a query per finding looks at."""

    def items(probed: Probed, splits: Sequence[str], names: Sequence[str]) -> Items:
        images = probed.images(splits)
        there = [[name in probed.findings_of(image) for name in names] for image in images]
        return _items_of(images, np.array(there, dtype=np.int64))

    every = {name for image in trained.store.images for name in trained.findings_of(image)}
    yield from _probe_labels("findings", trained, asked, sorted(every), items, 2)


def _probe_changes(trained: Probed, asked: Probed) -> Iterator[Row]:
    """Whether a finding appeared or vanished between two images, as the difference questions say."""

    def items(probed: Probed, splits: Sequence[str], names: Sequence[str]) -> Items:
        pairs = probed.pairs(splits)
        targets = np.zeros((len(pairs), len(names)), dtype=np.int64)
        for row, question in enumerate(pairs):
            kinds = {change.finding: change.kind for change in read_changes(question.answer)[0]}
            for column, name in enumerate(names):
                targets[row, column] = _WAYS.get(kinds.get(name, ""), SAME)
        return Items(
            [question.question_id for question in pairs],
            [question.subject_id for question in pairs],
            [question.pair.images[1::-1] for question in pairs],
            targets,
        )

    every = {change.finding for question in trained.pairs(["train"]) for change in read_changes(question.answer)[0]}
    # Every finding counts here, also those that are too rare to be learnt.
    changed = {
        question.question_id: any(change.kind in _WAYS for change in read_changes(question.answer)[0])
        for question in asked.pairs(_asked_splits(trained, asked))
    }
    for row in _probe_labels("changes", trained, asked, sorted(every), items, 3):
        yield row if "reason" in row else {**row, "changed": changed[row["id"]]}


def _probe_labels(
    kind: str,
    trained: Probed,
    asked: Probed,
    names: Sequence[str],
    items: Callable[[Probed, Sequence[str], Sequence[str]], Items],
    classes: int,
) -> Iterator[Row]:
    """Rows with, for every test item and name, the probability of each class but the first, by either pooling."""
    train, validate = (items(trained, [split], names) for split in ("train", "validate"))
    kept = [column for column in range(len(names)) if _can_be_learnt(train.targets, validate.targets, column)]
    if not kept:
        yield {"probe": kind, "reason": f"the store has too few {kind} in its train and validation splits"}
        return
    names = [names[column] for column in kept]
    test = items(asked, _asked_splits(trained, asked), names)
    if not len(test.identifiers):
        yield {"probe": kind, "reason": f"there is nothing to ask about {kind}"}
        return
    train, validate = (replace(one, targets=one.targets[:, kept]) for one in (train, validate))
    width, pairs = trained.tokens(train, np.arange(1)).shape[-1], len(train.images[0]) == 2
    for pooling in ("mean", "attention"):
        model = LabelProbe(width, len(names), classes, attends=pooling == "attention", pair=pairs)

        def loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(predicted.flatten(0, 1), target.flatten())

        predicted = _fit_and_ask(model, loss, trained, train, validate, asked, test, f"{kind} by {pooling}").softmax(-1)
        for row, identifier in enumerate(test.identifiers):
            yield {
                "probe": kind,
                "pooling": pooling,
                "id": identifier,
                "subject_id": test.subjects[row],
                "predicted": {
                    name: [round(float(one), 6) for one in predicted[row, place, 1:]]
                    for place, name in enumerate(names)
                },
                "target": {name: int(test.targets[row, place]) for place, name in enumerate(names)},
            }


def _can_be_learnt(train: np.ndarray, validate: np.ndarray, column: int) -> bool:
    positive = np.count_nonzero(train[:, column]) if len(train) else 0
    return bool(min(positive, len(train) - positive) >= FEWEST and len(validate) and np.any(validate[:, column]))


def _asked_splits(trained: Probed, asked: Probed) -> Sequence[str]:
    """The test split; of another store all of it, for nothing was learnt there."""
    return ["test"] if asked is trained else SPLITS


def _probe_boxes(trained: Probed, asked: Probed) -> Iterator[Row]:
    """The box of a named region (or of a phrase without a region), beside the mean box of that name."""
    counts = Counter(name for image in trained.images(["train"]) for name in _boxes(image))
    in_validation = {name for image in trained.images(["validate"]) for name in _boxes(image)}
    names = sorted(name for name, count in counts.items() if count >= FEWEST and name in in_validation)
    if not names:
        yield {"probe": "boxes", "reason": "the store has too few boxes in its train and validation splits"}
        return

    def items(probed: Probed, splits: Sequence[str]) -> Items:
        images = [image for image in probed.images(splits) if _boxes(image).keys() & set(names)]
        targets = np.full((len(images), len(names), 4), np.nan)
        for row, image in enumerate(images):
            boxes = _boxes(image)
            for column, name in enumerate(names):
                if name in boxes:
                    targets[row, column] = boxes[name][0].as_tuple()
        return _items_of(images, targets / probed.store.size)

    train, validate = items(trained, ["train"]), items(trained, ["validate"])
    test = items(asked, _asked_splits(trained, asked))
    if not len(test.identifiers):
        yield {"probe": "boxes", "reason": "none of the images asked about has a box of a name that was learnt"}
        return
    tokens = trained.tokens(train, np.arange(1))
    means = torch.from_numpy(np.nanmean(train.targets, axis=0)).float()
    model = BoxProbe(tokens.shape[-1], tokens.shape[-2], means)
    predicted = _fit_and_ask(model, _box_loss, trained, train, validate, asked, test, "boxes") * asked.store.size
    controls = (means * asked.store.size).tolist()
    of_image = {image.image_id: _boxes(image) for image in asked.images(_asked_splits(trained, asked))}
    for row, identifier in enumerate(test.identifiers):
        for column, name in enumerate(names):
            if name in of_image[identifier]:
                yield {
                    "probe": "boxes",
                    "id": f"{identifier}/{name}",
                    "subject_id": test.subjects[row],
                    "name": name,
                    "predicted": [round(float(edge), 3) for edge in predicted[row, column]],
                    "mean_box": [round(edge, 3) for edge in controls[column]],
                    "target": [[round(edge, 3) for edge in box.as_tuple()] for box in of_image[identifier][name]],
                }


def _items_of(images: Sequence[StoredImage], targets: np.ndarray) -> Items:
    identifiers, subjects = [one.image_id for one in images], [one.subject_id for one in images]
    return Items(identifiers, subjects, [(one,) for one in identifiers], targets)


def _boxes(image: StoredImage) -> dict[str, list[Box]]:
    """Name -> its boxes in the store's square."""
    found: dict[str, list[Box]] = defaultdict(list)
    for region in image.regions:
        for name in [region.name] if region.name else region.phrases:
            found[name].append(image.frame.into(region.box))
    return found


def _box_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Distance of the edges, and what the generalised intersection over union lacks of 1 (arXiv 1902.09630)."""
    known = ~target.isnan().any(-1)
    predicted, target = predicted[known], target[known]
    if not len(predicted):
        return predicted.sum()
    low, high = torch.maximum(predicted[:, :2], target[:, :2]), torch.minimum(predicted[:, 2:], target[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (
        (predicted[:, 2:] - predicted[:, :2]).clamp(min=0).prod(-1) + (target[:, 2:] - target[:, :2]).prod(-1) - shared
    )
    hull = (torch.maximum(predicted[:, 2:], target[:, 2:]) - torch.minimum(predicted[:, :2], target[:, :2])).prod(-1)
    generalised = shared / area.clamp(min=1e-6) - (hull - area) / hull.clamp(min=1e-6)
    return functional.l1_loss(predicted, target) * 5 + (1 - generalised).mean()


def _fit_and_ask(
    model: nn.Module,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    trained: Probed,
    train: Items,
    validate: Items,
    asked: Probed,
    test: Items,
    title: str,
) -> torch.Tensor:
    """The predictions for the test items, with the weights that were best on the validation items."""
    model.to(device())
    random = np.random.default_rng((trained.seed, 3))
    sample = trained.tokens(train, random.permutation(len(train.images))[:256])
    mean, deviation = sample.mean((0, 1, 2)), sample.std((0, 1, 2)) + 1e-6

    def predict(probed: Probed, items: Items, places: np.ndarray) -> torch.Tensor:
        return model((probed.tokens(items, places) - mean) / deviation)

    def predict_all(probed: Probed, items: Items) -> torch.Tensor:
        with torch.inference_mode():
            parts = np.array_split(np.arange(len(items.images)), -(-len(items.images) // 256))
            return torch.cat([predict(probed, items, part) for part in parts])

    def target(items: Items, places: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(items.targets[places]).to(device())

    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.01)
    best, kept, since, every = float("inf"), {}, 0, np.arange(len(validate.images))
    with progress_bar(f"probe {title}") as progress:
        for step in range(STEPS):
            if step % CHECK_EVERY == 0:
                found = float(loss(predict_all(trained, validate), target(validate, every)))
                since = 0 if found < best else since + 1
                if found < best:
                    best, kept = found, {name: value.clone() for name, value in model.state_dict().items()}
                if since == PATIENCE:
                    break
            places = random.integers(len(train.images), size=BATCH)
            optimiser.zero_grad()
            loss(predict(trained, train, places), target(train, places)).backward()
            optimiser.step()
            progress(step + 1, STEPS)
    model.load_state_dict(kept)
    return predict_all(asked, test).cpu()
