"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Sources = Annotated[
    list[str], typer.Argument(metavar="KIND:PATH...", help="datasets, such as mimic:/data or nih14:/data")
]
Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="a folder written by `diffvqa finetune`, phantom-small (part of the package), or owner/name on the hub",
    ),
]
StoreFolder = Annotated[Path, typer.Argument(metavar="STORE", help="a folder written by `diffvqa prepare`")]
Config = Annotated[
    Path, typer.Argument(metavar="CONFIG.yaml", help="a file of settings, such as those in configs/tiny")
]
ReversedPairs = Annotated[
    Literal["drop", "turn"],
    typer.Option(help="drop or turn round questions whose prior image is the later one"),
]
SplitSeed = Annotated[
    int | None, typer.Option(min=0, help="split by patient with this seed; ignore the datasets' splits")
]
Strict = Annotated[bool, typer.Option("--strict", help="refuse data with faults instead of skipping faulty rows")]
Cluster = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="run on this Ray cluster; auto: the cluster on this machine")
]
TrustOrder = Annotated[
    bool, typer.Option("--trust-order", help="continue even if DICOM headers say that the prior is the later one")
]
TrustIdentity = Annotated[
    bool, typer.Option("--trust-identity", help="continue even if DICOM headers say that the patients differ")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="settings that replace those of the file")
]
