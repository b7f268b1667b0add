"""A Ray cluster of two nodes on this machine does what one process does, byte for byte."""

import itertools
import json
import os
import subprocess
import sys

import pytest

from diffvqa.answering.batch import predict as batch
from diffvqa.data import read_sources, shards
from diffvqa.data.prepare import prepare as prepare_store
from diffvqa.errors import InputError
from diffvqa.evaluating.evaluate import evaluate
from diffvqa.workers import done_in_order

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_a_cluster_that_is_not_there_is_said(cohort_folder, tmp_path, address):
    # A process of its own: this one may be joined to a cluster.
    command = [sys.executable, "-m", "diffvqa", "prepare", f"mimic:{cohort_folder}", "--cluster", address]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    run = subprocess.run(
        [*command, "--out", tmp_path / "store", "--size", "64"], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 2
    assert f"no Ray cluster answers at '{address}'" in run.stderr


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two nodes with a worker each."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(autouse=True)
def few_readings():
    """As many phrases are read out here as workers of the cluster read out: no test reaches into those."""


def files(folder):
    """But for the records of runs, which hold how long they took."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("run.json", "started.json"))
    }


def test_a_store_made_by_the_cluster_is_the_same(cluster, cohort_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "IMAGES", 8)
    cohort = read_sources([f"mimic:{cohort_folder}"])
    prepare_store(cohort, tmp_path / "alone", 64)
    prepare_store(cohort, tmp_path / "cluster", 64, cluster=cluster)
    assert len(list((tmp_path / "alone" / "shards").glob("*.json"))) > 3
    assert files(tmp_path / "cluster") == files(tmp_path / "alone")


def test_predictions_of_the_cluster_are_the_same(cluster, model_folder, store_folder, tmp_path):
    evaluate(model_folder, store_folder, "test", tmp_path / "alone")
    evaluate(model_folder, store_folder, "test", tmp_path / "cluster", cluster=cluster)
    found, expected = files(tmp_path / "cluster"), files(tmp_path / "alone")
    assert found == expected
    assert len(next(content for path, content in found.items() if path.name == "predictions.jsonl").splitlines()) > 10


def alike(one, other):
    """Whether JSON is the same but for the rounding of its numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == (pytest.approx(other, rel=1e-3) if isinstance(other, float) else other)


def test_answers_of_the_cluster_to_a_table_are_the_same(cluster, model_folder, cohort_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "ROWS", 4)
    monkeypatch.setattr(batch, "IMAGES", 3)
    pictures = sorted(cohort_folder.rglob("*.jpg"))[:8]
    rows = [f"{current},{prior}" for prior, current in itertools.combinations(pictures, 2)][:18]
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "pairs.csv").write_text("\n".join(["current,prior", *rows, f"{pictures[0]},text.jpg"]))
    for name, address in (("alone", None), ("cluster", cluster)):
        outcome = batch.predict_pairs(model_folder, tmp_path / "pairs.csv", tmp_path / name, cluster=address)
        assert (outcome.rows, outcome.problems) == (19, 1)
    alone, found = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("alone", "cluster")
    )
    # Workers of a cluster may have another number of threads, which rounds in another way.
    assert alike(found, alone)


def test_the_error_of_a_job_comes_out_as_it_was_meant(cluster):
    with pytest.raises(InputError, match="there is no such folder"):
        list(done_in_order(evaluate, [("/nowhere", "/nowhere", "test", "/nowhere")], cluster=cluster))
