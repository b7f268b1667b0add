"""One error as its readers see it: in Python, on the command line, over HTTP, and in a table of pairs."""

import csv
import pickle

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from diffvqa import cli
from diffvqa.answering.batch.pairs import in_columns, read_pairs
from diffvqa.answering.case import read_question
from diffvqa.answering.comparable import check_order
from diffvqa.errors import InputError
from diffvqa.images.header import Header
from diffvqa.images.moments import moment_of
from diffvqa.serving.app import create_app


class Refusing:
    """In the place of an Answerer: does what it is given, which raises."""

    version = None

    def __init__(self, check):
        self.check = check

    def __call__(self, **_):
        self.check()


def shown_by(command, error, monkeypatch, capsys):
    """What a command says of an error that is raised in it."""

    def broken(*_, **__):
        raise error

    monkeypatch.setattr("typer.core.TyperCommand.invoke", broken)
    monkeypatch.setattr("sys.argv", ["diffvqa", *command])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    return capsys.readouterr().err


def refusal(check):
    with pytest.raises(InputError) as caught:
        check()
    return caught.value


def test_the_text_of_an_error_has_the_names_of_python():
    error = InputError("exchange it with {prior 2}", argument="trust_order", row=3, mentions=("prior 2",))
    assert str(error) == "row 3, trust_order: exchange it with prior 2"
    assert str(InputError("5 cells", row=3)) == "row 3: 5 cells"
    assert str(InputError("nothing to compare")) == "nothing to compare"


def test_only_what_is_mentioned_is_a_name_in_a_message():
    error = InputError("give texts={AREF: 1}, {prior} or {current}", argument="{out}", mentions=("prior",))
    assert error.render(str.upper) == "{OUT}: give texts={AREF: 1}, PRIOR or {current}"


def test_an_error_comes_whole_from_another_process():
    error = pickle.loads(pickle.dumps(InputError("give {b}", argument="a", row=2, mentions=("b",))))
    assert error.render("<{}>".format) == "row 2, <a>: give <b>"


@pytest.mark.parametrize(
    ("command", "argument", "shown"),
    [
        (["answer", "M", "--current", "C"], "trust_order", "--trust-order"),
        (["answer", "M", "--current", "C"], "prior 2", "--prior 2"),
        (["answer", "M", "--current", "C"], "model/captioner", "MODEL/captioner"),
        (["synth", "O", "--patients", "20"], "out", "OUT"),
        (["synth", "O", "--patients", "20"], "test_set", "--set"),
        (["predict", "M", "P", "--out", "O"], "pairs", "PAIRS"),
        (["evaluate", "M", "S", "--out", "O"], "out", "--out"),
        (["evaluate", "M", "S", "--out", "O"], "store", "STORE"),
        (["pretrain", "C"], "out", "`out`"),
        (["pretrain", "C"], "store", "`store`"),
        (["pretrain", "C"], "optimisation.batch_size", "`optimisation.batch_size`"),
        (["pretrain", "C"], "config", "CONFIG"),
        (["probe", "E", "S", "--out", "O"], "encoder", "ENCODER"),
    ],
)
def test_a_command_names_what_it_takes_and_else_a_key(command, argument, shown, monkeypatch, capsys):
    error = InputError(f"not so, see {{{argument}}}", argument=argument, mentions=(argument,))
    assert shown_by(command, error, monkeypatch, capsys) == f"error: {shown}: not so, see {shown}\n"


def test_a_mistake_is_said_in_the_names_of_the_place_where_it_was_made(monkeypatch, capsys):
    later, earlier = (Header(taken=moment_of(day)) for day in ("2020-01-02", "2020-01-01"))
    headers = {"current": later, "prior": earlier, "prior 2": later}

    error = refusal(lambda: check_order(headers, trusted=False))
    said = "{} was taken later than {}, according to their headers; exchange them, or give {} if the headers are wrong"
    assert str(error) == said.format("prior 2", "prior", "trust_order")
    options = said.format("--prior 2", "--prior", "--trust-order")
    assert shown_by(["answer", "M", "--current", "C"], error, monkeypatch, capsys) == f"error: {options}\n"
    assert error.render(in_columns) == said.format("`prior_2`", "`prior`", "--trust-order")


def test_a_question_about_a_change_is_refused_in_each_place_by_its_own_names(monkeypatch, capsys, tmp_path):
    asked, said = "what has changed?", "{}: asks about a change and needs two radiographs; give {}, too"

    def check():
        read_question(asked, alone=True)

    error = refusal(check)
    assert shown_by(["answer", "M", "--current", "C"], error, monkeypatch, capsys) == (
        f"error: {said.format('--question', '--prior')}\n"
    )
    client = TestClient(create_app(Refusing(check)), base_url="http://127.0.0.1")
    Image.new("L", (20, 20)).save(tmp_path / "a.png")
    response = client.post("/answer", files={"current": (tmp_path / "a.png").read_bytes()})
    assert response.json() == {"detail": said.format("question", "prior")}
    table = tmp_path / "pairs.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("current", "question"), ("a.png", ""), ("a.png", asked)])
    assert str(refusal(lambda: read_pairs(table))) == f"pairs: row 3, {said.format('`question`', '`prior`')}"
