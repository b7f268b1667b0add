"""No line of the package lets the libraries run what a model brings along, or unpickle it: the source is read."""

import ast
from pathlib import Path

import diffvqa

PACKAGE = Path(diffvqa.__file__).parent
READING = ("from_pretrained", "from_config")
OWN = ("Answerer",)
FORBIDDEN = {
    "torch": {"load"},
    "pickle": {"load", "loads", "Unpickler"},
    "joblib": {"load"},
    "marshal": {"load", "loads"},
    "yaml": {"load", "unsafe_load", "full_load"},
    "os": {"system", "popen"},
}
BUILT_IN = {"eval()", "exec()", "input()", "__import__()"}


def calls():
    """Every call in the package's source: where it stands, on what, its name, and its keywords."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                on, name = None, getattr(node.func, "id", None) and f"{node.func.id}()"
                if isinstance(node.func, ast.Attribute):
                    on, name = getattr(node.func.value, "id", None), node.func.attr
                yield (
                    f"{path.relative_to(PACKAGE)}:{node.lineno}",
                    on,
                    name,
                    {one.arg: one.value for one in node.keywords},
                )


def test_models_are_read_without_code_of_their_own():
    found = [(where, keywords) for where, on, name, keywords in calls() if name in READING and on not in OWN]
    assert len(found) >= 6
    for where, keywords in found:
        allowed = keywords.get("trust_remote_code")
        assert isinstance(allowed, ast.Constant), where
        assert allowed.value is False, where


def test_weights_are_read_from_safetensors_alone():
    weights = [keywords for where, on, name, keywords in calls() if name == "from_pretrained" and "dtype" in keywords]
    assert len(weights) == 1
    assert weights[0]["use_safetensors"].value is True


def test_nothing_is_unpickled_or_evaluated():
    for where, on, name, keywords in calls():
        assert name not in FORBIDDEN.get(on, ()), where
        assert name not in BUILT_IN, where
        if on in ("np", "numpy") and name == "load":
            assert keywords["allow_pickle"].value is False, where
        if name in ("run", "Popen", "check_output", "call") and "shell" in keywords:
            assert keywords["shell"].value is False, where
