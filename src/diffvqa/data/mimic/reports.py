"""The reports of MIMIC-CXR: what is seen and concluded, without the reason for the examination."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from diffvqa.data.paths import UNREADABLE_MEMBER, members_inside, open_archive, read_member
from diffvqa.records import Problem, Source

_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z ,/&()-]{2,}):", re.MULTILINE)
_TITLE = re.compile(r"^[ \t]*FINAL REPORT[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_WANTED = ("FINDINGS", "IMPRESSION")


class Reports:
    """The report files of a folder or of `mimic-cxr-reports.zip`, read one at a time.

    Raises InputError for an archive that cannot be opened.
    """

    def __init__(self, place: Path, problems: list[Problem]) -> None:
        archive = place if place.is_file() else place / "mimic-cxr-reports.zip"
        unpacked = place / "mimic-cxr-reports"
        self._folder = unpacked if (unpacked / "files").is_dir() else place
        self._archive: zipfile.ZipFile | None = None
        self._members: dict[str, str] = {}
        self._problems = problems
        if archive.is_file() and not (self._folder / "files").is_dir():
            self._archive = open_archive(archive)
            for name in members_inside(self._archive, archive.name, ".txt", problems):
                self._members[name.rsplit("/", 1)[-1]] = name

    def read(self, subject_id: str, study_id: str) -> str:
        """Findings and impression of a study's report in one line; empty, and a problem, if they cannot be had."""
        where = Source(f"s{study_id}.txt")
        try:
            raw = self._content(subject_id, where.file)
        except FileNotFoundError:
            self._problems.append(Problem("report_missing", where, "the study has no report"))
            return ""
        except UNREADABLE_MEMBER:
            self._problems.append(Problem("report_unreadable", where, "the file is damaged or cannot be opened"))
            return ""
        text = raw.decode("utf-8", errors="replace")
        if "\ufffd" in text:
            self._problems.append(Problem("text_undecodable", where, "not all of it is UTF-8"))
        found = findings_and_impression(text)
        if not found:
            self._problems.append(Problem("report_missing", where, "the study's report is empty"))
        return found

    def _content(self, subject_id: str, name: str) -> bytes:
        """Raises FileNotFoundError where there is no such file, and what UNREADABLE_MEMBER names."""
        if self._archive is None:
            return (self._folder / "files" / f"p{subject_id[:2]}" / f"p{subject_id}" / name).read_bytes()
        if name not in self._members:
            raise FileNotFoundError
        return read_member(self._archive, self._members[name])


def findings_and_impression(report: str) -> str:
    """The findings and the impression of a report, white space made single, in the order written.

    A report without these headings gives the paragraphs that stand under no heading, or else all of it.
    """
    # Most reports have their title right above the first heading, whose paragraph would else seem to have none.
    report = _TITLE.sub("", report).strip()
    headings = list(_HEADING.finditer(report))
    ends = [*(heading.start() for heading in headings), len(report)][1:]
    wanted = [
        report[heading.end() : end]
        for heading, end in zip(headings, ends, strict=True)
        if any(word in heading[1] for word in _WANTED)
    ]
    if not any(part.strip() for part in wanted):
        wanted = [text for text in re.split(r"\n\s*\n", report) if not _HEADING.match(text)]
    return " ".join(" ".join(wanted or [report]).split())
