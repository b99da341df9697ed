"""Filter job output for a terminal: pass only text and colours.

Removes sequences that move the cursor, clear the screen, set the title, or make the terminal send input (ECMA-48;
xterm's control sequences). Output to files and pipes is not filtered.
"""

import codecs
import re
from typing import Final

_LONGEST_HELD_BACK: Final = 4096
"""Maximum characters of an incomplete sequence kept for the next piece; valid ones are shorter."""

_SEQUENCE: Final = re.compile(
    r"""
    (?P<colour> \x1b\[ [0-9;:]{0,64} m )                 # SGR, the only one that passes
    | (?P<newline> (?<!\r) \r+ \n )                      # only from the first CR on: a million of them are read once
    | (?P<return> \r )                                   # alone it would let later text hide earlier text
    | \x1b\[ [0-?]* [\ -/]* [@-~]                        # any other CSI
    | \x1b[\]PX^_] [^\x07\x1b\x9c\n]* (?: \x07 | \x1b\\ | \x9c )   # OSC, DCS, SOS, PM, APC: strings
    | \x1b[\ -/]+ [0-~] | \x1b[0-OQ-WYZ\\`-~]            # two and three byte escapes
    | (?P<control> [\x00-\x08\x0b-\x1f\x7f-\x9f] )       # what is left of the controls, shown
    """,
    re.VERBOSE,
)
_UNFINISHED: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\x9c\n]*\x1b?|[ -/]*)\Z|(?<!\r)\r+\Z")


class TerminalFilter:
    """Converts output, piece by piece, to text that is safe on a terminal."""

    def __init__(self, *, colours: bool = True) -> None:
        self._colours = colours
        self._coloured = False
        self._held = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def feed(self, data: bytes, *, last: bool = False) -> str:
        """Return the safe text of this piece. `last`: hold nothing back, and reset colours."""
        text = self._held + self._decoder.decode(data, last)
        self._held = ""
        if not last:
            unfinished = _UNFINISHED.search(text)
            if unfinished and len(text) - unfinished.start() <= _LONGEST_HELD_BACK:
                text, self._held = text[: unfinished.start()], text[unfinished.start() :]
        safe = _SEQUENCE.sub(self._replace, text)
        if last and self._coloured:
            safe += "\x1b[0m"
        return safe

    def _replace(self, match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind in ("newline", "return"):
            return "\n"
        if kind == "control":
            return f"\\x{ord(match[0]):02x}"
        if kind == "colour" and self._colours:
            self._coloured = True
            return match[0]
        return ""
