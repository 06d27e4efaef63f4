"""Transcripts as documents for spreadsheets (CSV) and word processors (DOCX). No I/O."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from parlando.domain.transcript import FinalSegment

TURN_S: Final = 60.0
"""A paragraph of one speaker, or without speakers, begins anew after this time."""
COLUMNS: Final = ("start", "end", "speaker", "text", "confidence", "language")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NOT_XML: Final = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAKS: Final = re.compile(r"[\r\n]+")
_MOMENT: Final = (1980, 1, 1, 0, 0, 0)  # equal transcripts give equal bytes


def csv_of(segments: Sequence[FinalSegment]) -> str:
    """RFC 4180 with a header: one row per segment, times in seconds, empty where a value is unknown.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    for each in segments:
        confidence = "" if each.confidence is None else f"{each.confidence:.3f}"
        texts = (_cell(each.voice or ""), _cell(each.text))
        rows.writerow([f"{each.start:.3f}", f"{each.end:.3f}", *texts, confidence, each.language or ""])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def docx_of(segments: Sequence[FinalSegment], *, title: str, language: str | None) -> bytes:
    """A document of Office Open XML: a title, and a paragraph per turn with its time and speaker."""
    tag = f"<w:lang w:val={_attribute(language)}/>" if language else ""
    body = "".join([_paragraph("Title", _run(title)) if title else "", *map(_turn, _turns(segments))])
    parts = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _RELATIONS,
        "word/_rels/document.xml.rels": _DOCUMENT_RELATIONS,
        "word/styles.xml": _STYLES.replace("<lang/>", tag),
        "word/document.xml": f"{_DOCUMENT}<w:body>{body}{_PAGE}</w:body></w:document>",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _turns(segments: Sequence[FinalSegment]) -> Iterator[list[FinalSegment]]:
    turn: list[FinalSegment] = []
    for each in segments:
        if turn and (each.voice != turn[0].voice or each.end - turn[0].start > TURN_S):
            yield turn
            turn = []
        turn.append(each)
    if turn:
        yield turn


def _turn(turn: Sequence[FinalSegment]) -> str:
    whole = int(turn[0].start)
    time = _run(f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}  ", '<w:color w:val="595959"/>')
    voice = turn[0].voice
    name = _run(f"{voice}: ", "<w:b/>") if voice else ""
    return _paragraph("", time + name + _run(" ".join(each.text for each in turn)))


def _paragraph(style: str, runs: str) -> str:
    named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{named}{runs}</w:p>"


def _run(text: str, properties: str = "") -> str:
    look = f"<w:rPr>{properties}</w:rPr>" if properties else ""
    clean = escape(_NOT_XML.sub("", _BREAKS.sub(" ", text)))
    return f'<w:r>{look}<w:t xml:space="preserve">{clean}</w:t></w:r>'


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("", text))


_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN: Final = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_WORD_TYPE: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml"
DOCX_TYPE: Final = f"{_WORD_TYPE}.document"

_CONTENT_TYPES: Final = (
    f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{_WORD_TYPE}.document.main+xml"/>'
    f'<Override PartName="/word/styles.xml" ContentType="{_WORD_TYPE}.styles+xml"/></Types>'
)
_RELATIONS: Final = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>'
)
_DOCUMENT_RELATIONS: Final = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'
)
_STYLES: Final = (
    f'{_HEAD}<w:styles xmlns:w="{_MAIN}"><w:docDefaults><w:rPrDefault><w:rPr>'
    '<w:rFonts w:ascii="Calibri" w:hAnsi="Calibri" w:cs="Calibri"/><w:sz w:val="22"/><lang/></w:rPr>'
    '</w:rPrDefault><w:pPrDefault><w:pPr><w:spacing w:after="160" w:line="276" w:lineRule="auto"/>'
    "</w:pPr></w:pPrDefault>"
    '</w:docDefaults><w:style w:type="paragraph" w:default="1" w:styleId="Normal">'
    '<w:name w:val="Normal"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="Title"><w:name w:val="Title"/><w:basedOn w:val="Normal"/>'
    '<w:rPr><w:b/><w:sz w:val="36"/></w:rPr></w:style></w:styles>'
)
_DOCUMENT: Final = f'{_HEAD}<w:document xmlns:w="{_MAIN}">'
_PAGE: Final = (
    '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/>'
    '<w:pgMar w:top="1134" w:right="1134" w:bottom="1134" w:left="1134" w:header="709" w:footer="709" '
    'w:gutter="0"/></w:sectPr>'
)
