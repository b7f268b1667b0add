"""Hooks of the site (mkdocs.yml): pages made from the program, and files of the repository outside docs/.

Every build makes these pages: the commands (from the command line's parser), the settings (from their models), and the
notebooks. It also adds the files of results/, configs/ and the root that pages link to.
"""

from __future__ import annotations

import json
import logging
import os
import posixpath
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "src/diffvqa/answering/answer.schema.json")
FOLDERS = ("results", "configs")
LOG = logging.getLogger("mkdocs.hooks.diffvqa")


def on_files(files: Files, config: Any) -> Files:
    """Add what is made, and what lies outside docs/."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".html":
                name = path.relative_to(ROOT).as_posix()
                files.append(File.generated(config, name, abs_src_path=str(path)))
    for folder in sorted((ROOT / "results/study").glob("*/figures")):
        name = folder.relative_to(ROOT).as_posix()
        files.append(File.generated(config, f"{name}/index.md", content=_listing(folder)))
    files.append(File.generated(config, "reference/cli.md", content=_commands()))
    files.append(File.generated(config, "reference/settings.md", content=_settings()))
    for notebook in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        content = _notebook(json.loads(notebook.read_text(encoding="utf-8")), notebook.name)
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links between files of the repository become links between files of the site."""
    # Tests are no part of the site: their names stay without a link.
    markdown = re.sub(r"\[([^\]]+)\]\(tests/[^)\s]*\)", r"\1", markdown)
    in_docs = (ROOT / "docs" / page.file.src_uri).is_file()
    here = posixpath.dirname(f"docs/{page.file.src_uri}" if in_docs else page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        link, hash_, anchor = match[2].partition("#")
        target = posixpath.normpath(posixpath.join(here, link))
        if not link or "://" in link or not (ROOT / target).exists():
            return match[0]
        if (ROOT / target).is_dir():
            target += "/index.md"
        site = target.removeprefix("docs/")
        return f"{match[1]}{os.path.relpath(site, posixpath.dirname(page.file.src_uri) or '.')}{hash_}{anchor})"

    return re.sub(r"(\]\()([^)\s]+)\)", moved, markdown)


class _Fetched(HTMLParser):
    """Addresses that a page would fetch from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get("src") if tag in ("script", "img", "iframe", "source") else None
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            address = given.get("href")
        if address and re.match(r"(https?:)?//", address):
            self.found.append(address)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """A page that fetches something from elsewhere is a fault: the site is read without a network."""
    parser = _Fetched()
    parser.feed(output)
    for address in parser.found:
        LOG.warning("%s fetches %s", page.file.src_uri, address)
    return output


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return f"# {folder.name}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)


def _commands() -> str:
    import typer

    from diffvqa.cli import app

    group = typer.main.get_command(app)
    text = [
        "# Commands\n\nThis page is made from the program. `diffvqa COMMAND --help` prints the same.\n\n"
        "Research software. Not for clinical use.\n"
    ]
    callbacks = {one.name or one.callback.__name__: one.callback for one in app.registered_commands}
    for name, command in group.commands.items():
        types = typing.get_type_hints(callbacks[name])
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
        needed = [_option(one, types) for one in options if one.required]
        words = [*map(_place, arguments), *needed, *(["[OPTIONS]"] if len(options) > len(needed) else [])]
        text.append(f"## diffvqa {name}\n\n{command.help}\n\n```\ndiffvqa {' '.join([name, *words])}\n```\n")
        rows = [f"| `{_place(one)}` | {_cell(one.help)} | |" for one in arguments]
        # A bar within backticks divides no cells.
        rows += [f"| `{_option(one, types)}` | {_cell(one.help)} | {_default(one)} |" for one in options]
        if rows:
            text.append("| | | if not given |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(text)


def _place(argument: Any) -> str:
    return argument.metavar or argument.name.upper()


def _option(option: Any, types: dict[str, Any]) -> str:
    """An option as it is typed, with what it takes. The parser's own objects say that otherwise in every version."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    taken = types[option.name]
    kinds = [one for one in typing.get_args(taken) if one is not type(None)] or [taken]
    while typing.get_origin(kinds[0]) is list:
        kinds = list(typing.get_args(kinds[0]))
    if option.metavar:
        return f"{names} {option.metavar}"
    if all(isinstance(one, str) for one in kinds) or typing.get_origin(kinds[0]) is typing.Literal:
        choices = kinds if isinstance(kinds[0], str) else typing.get_args(kinds[0])
        return f"{names} {'|'.join(choices)}"
    return f"{names} {WORDS[kinds[0]]}"


WORDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def _default(option: Any) -> str:
    if option.required:
        return "needed"
    return "" if option.default is None or option.is_flag else f"`{option.default}`"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


MEANINGS = {
    "store": "folder of the store",
    "out": "folder that the run writes; the same command continues there",
    "optimisation": "the keys of the last table",
    "encoder": "stage 1: sizes of a new encoder, or a vision model to start from; stage 2: a folder of stage 1, or a "
    "vision model",
    "decoder": "sizes of the text decoder (GPT-2)",
    "objective": "a name, a sum such as `clip+cap`, or names with weights",
    "tokenizer": "folder or hub name, or the vocabulary size of a new one",
    "seed": "seed of all random draws",
    "box_bins": "largest coordinate; a box is written as four integers from 0 to this number",
    "location_tokens": "write each of these integers as one token",
    "region_box_first": "CAREF writes the box before the phrase",
    "keep_evaluation_patients": "also pretrain on patients with validation or test questions",
    "text_tokens": "length of the longest text in tokens",
    "texts": "number of texts of each task in one pass over an image",
    "one_task_per_image": "one text an image; `texts` are then the weights by which its task is drawn",
    "last_part_only": "tasks whose loss covers only the last part of the text",
    "parallel": "share of the texts of each task that are predicted in parallel",
    "augmentation": "largest change of each kind; 0 is off",
    "image_mean": "mean of pixels from 0 to 1, by channel; .5 for three channels if null",
    "image_std": "standard deviation of pixels from 0 to 1, by channel; .5 for three channels if null",
    "language_model": "folder or hub name of a causal language model, or the sizes of a new GPT-2",
    "lora_rank": "rank of LoRA adapters that are trained instead of the language model's weights",
    "trainable_blocks": "number of last blocks of the encoder that are also trained",
    "questions": "weight by which each type of question is drawn; other types are left out",
    "merge": "patches a side that become one token: `2` merges 2 x 2 patches",
    "attention": "attention between tokens of the images: `causal`, or to all (`prefix`)",
    "priors": "number of earlier images that the model sees",
    "exchanged": "share of difference questions with exchanged images and the answer turned round",
    "change_threshold": "the model states changes with this probability or more; null: the most probable answer",
    "steps": "length of the run in steps; give this or `epochs`",
    "epochs": "length of the run in epochs",
    "batch_size": "images or questions a step, on all processes together",
    "learning_rate": "highest learning rate, reached after the warm-up",
    "final_learning_rate": "learning rate at the end of the cosine schedule",
    "optimizer": "`adamw`, or `muon` for the matrices",
    "weight_decay": "weight decay of matrices; other weights have none",
    "beta1": "first beta of AdamW",
    "beta2": "second beta of AdamW",
    "warmup_steps": "steps until the highest learning rate",
    "gradient_clipping": "largest norm of the gradient",
    "accumulation": "number of parts into which a process divides its share of a batch, to save memory",
    "precision": "`bf16` or `fp32`; a machine without fast bf16 uses fp32",
    "gradient_checkpointing": "save memory and compute layers twice",
    "compile": "use torch.compile",
    "log_every": "steps between two lines of the log",
    "save_every": "steps between two checkpoints, and between two losses on the validation split",
    "loader_workers": "number of processes that load data",
    "report_to": "trackers that also get the log",
}
"""The meaning of each setting; the build fails if one is missing."""


def _settings() -> str:
    from diffvqa.training.config import FinetuneConfig, Optimisation, PretrainConfig

    text = [
        "# Settings\n\nThis page lists every key of a YAML file, from the program. "
        "[Training](../training.md) explains them.\n\n"
        "A `key=value` on the command line is laid over the file: "
        "`text_tokens=64`, `optimisation.steps=2000`.\n"
    ]
    kinds = {"Stage 1: `diffvqa pretrain`": PretrainConfig, "Stage 2: `diffvqa finetune`": FinetuneConfig}
    for title, kind in {**kinds, "`optimisation`, of both stages": Optimisation}.items():
        text.append(f"## {title}\n\n| key | | type | if not given |\n|---|---|---|---|")
        hints = typing.get_type_hints(kind)
        for name, field in kind.model_fields.items():
            default = "needed" if field.is_required() else f"`{_json(field.get_default(call_default_factory=True))}`"
            text.append(f"| `{name}` | {MEANINGS[name]} | {_cell(_type(hints[name]))} | {default} |")
        text.append("")
    return "\n".join(text)


def _json(value: Any) -> str:
    return json.dumps(asdict(value) if is_dataclass(value) else value)


def _type(annotation: Any) -> str:
    """A type in words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_type, inner)))
    if origin in (tuple, list):
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"{_type(inner[0])} -> {_type(inner[1])}"
    words = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", type(None): "`null`"}
    return words.get(annotation, "anything" if annotation is Any else "mapping")


def _notebook(notebook: dict[str, Any], name: str) -> str:
    return "\n\n".join(_cells(notebook, name)) + "\n"


def _cells(notebook: dict[str, Any], name: str) -> Iterator[str]:
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
        if number == 0:
            yield f"This page is the notebook `docs/notebooks/{name}` of the repository. A test runs it."
