"""The codes by which a structured report names findings and differences.

They are those of DICOM (part 16, as pydicom's dictionary has it); disorders that are not in it have the code of SNOMED
CT under their fully specified name. A term without either gets a private code, rather than a code that is nearly right.
"""

from __future__ import annotations

import hashlib

from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99DIFFVQA"
_LONGEST_VALUE, _LONGEST_MEANING = 16, 64

FINDINGS = {
    "atelectasis": Code("46621007", "SCT", "Atelectasis"),
    # pydicom's dictionary has 287272002 for it: in SNOMED CT that is another disorder of the heart.
    "cardiomegaly": Code("8186001", "SCT", "Cardiomegaly"),
    "consolidation": Code("95436008", "SCT", "Lung consolidation"),
    "edema": Code("19242006", "SCT", "Pulmonary edema"),
    "emphysema": Code("87433001", "SCT", "Pulmonary emphysema"),
    "fibrosis": Code("51615001", "SCT", "Fibrosis of lung"),
    "fracture": Code("125605004", "SCT", "Fracture of bone"),
    "hernia": Code("39839004", "SCT", "Diaphragmatic hernia"),
    "infiltration": Code("112121", "DCM", "Infiltrate"),
    "lung opacity": Code("112001", "DCM", "Opacity"),
    "mass": Code("4147007", "SCT", "Mass"),
    "nodule": Code("27925004", "SCT", "Nodule"),
    "pleural effusion": Code("60046008", "SCT", "Pleural effusion"),
    "pneumonia": Code("233604007", "SCT", "Pneumonia"),
    "pneumothorax": Code("36118008", "SCT", "Pneumothorax"),
    "support devices": Code("49062001", "SCT", "Device"),
}
"""The codes of findings that have one. Every hernia that a chest shows, a hiatal one too, is diaphragmatic."""


def private_code(meaning: str) -> Code:
    """A code of our own scheme for these words: always the same one, cut to the lengths that DICOM allows."""
    value = hashlib.sha256(meaning.encode()).hexdigest()[:_LONGEST_VALUE]
    return Code(value, PRIVATE_SCHEME, meaning[:_LONGEST_MEANING])


DIFFERENCES = {
    "changed": private_code("Changed, direction not stated"),
    "decreased": Code("19776001", "SCT", "Decrease in size"),
    "increased": Code("15454001", "SCT", "Increase in size"),
    "new": Code("129721008", "SCT", "New finding"),
    "resolved": Code("413322009", "SCT", "Problem resolved"),
    "unchanged": Code("129723006", "SCT", "No significant changes in the finding"),
}
"""Values of Qualitative Difference: those of DICOM's context groups 6002 and 6134, and "resolved", which they lack.

A rise or fall of any level is there called one of size.
"""


def finding_code(finding: str) -> Code:
    """The code of a finding in the words of the answers."""
    return FINDINGS.get(finding) or private_code(finding)
