"""The view of a radiograph, by the words and by the codes for it; of headers and of tables alike."""

from __future__ import annotations

import re

AP, PA, LATERAL, DECUBITUS, OBLIQUE = "AP", "PA", "LATERAL", "DECUBITUS", "OBLIQUE"
"""The views that are told apart; "" stands for one that is not said, or is a frontal one of no known direction."""

# Tried in this order: "left lateral decubitus" is seen from the front, "lateral oblique" is neither, and "PA L" is PA.
_WORDS = (
    (DECUBITUS, re.compile(r"[LR]LD|DECUB.*")),
    (OBLIQUE, re.compile(r"OBL.*|[LR][AP]O|[LR]LO")),
    (LATERAL, re.compile(r"LL|RL|[LR]?T?LAT(?!ERALIT).*|SWIMMER.*|SAGITTAL|PROFIL.?|PERFIL|SEIT.*|SIDE|DWARS")),
    (AP, re.compile(r"AP|ANTERO(POSTERIOR)?")),
    (PA, re.compile(r"PA|POSTERO(ANTERIOR)?")),
    (LATERAL, re.compile(r"L|XTABLE|CROSSTABLE")),
)

_CODES = {
    OBLIQUE: (
        "399312000", "R-10208", "399160007", "R-10204", "399132005", "R-10252", "260427002", "R-40783", "399099002",
        "R-10230", "399135007", "R-10220", "399184004", "R-10238", "399006002", "R-10212", "260426006", "R-40782",
        "399368009", "R-10226", "399004004", "R-10246", "399182000", "R-102C1", "399059000", "R-10216", "399356000",
        "R-40985", "399236003", "R-10234", "399038007", "R-10210", "399325008", "R-10254",
    ),
    LATERAL: (
        "399067008", "R-102CD", "399173006", "R-10236", "399198007", "R-10232", "399352003", "R-10228", "399260004",
        "R-10224", "30730003", "G-A145",
    ),
    AP: ("399348003", "R-10206"),
    PA: ("272479007", "R-40888", "R-10214"),
}  # fmt: skip
"""Views in SNOMED CT and in its old form (PS3.16 CID 4010)."""

_VIEW_OF_CODE = {code: view for view, codes in _CODES.items() for code in codes}


def view_of(text: str) -> str:
    """The view that words name, in upper or lower case: `XTABLE LATERAL`, `ap_llat`, `Postero-anterior`; else ""."""
    words = re.findall("[A-Z]+", re.sub(r"\b([A-Z])\.", r"\1", text.upper()))
    return next((view for view, known in _WORDS if any(map(known.fullmatch, words))), "")


def view_of_code(value: str, meaning: str = "") -> str:
    """The view of a code of SNOMED CT; where that is not known, the one that its meaning names; else ""."""
    return _VIEW_OF_CODE.get(value) or view_of(meaning)
