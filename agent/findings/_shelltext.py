"""Reads shell text as a shell would split it, without running or expanding anything.

What `sh -c TEXT` is given, as pipelines of simple commands: quoting taken away (also
`c''url`, `c\\url`, `$'\\x63url'`), redirections and assignments apart, the text of
`$(…)`, `` `…` `` and `<(…)` read too, with `MARK` in the word where its output would go.
Keywords and parentheses are dropped: what counts is which commands there are and what
feeds what.  Whatever the text is, it takes one pass, a fixed depth, and never raises.

Blind to: variables and what they hold, but `$IFS`, which is a space; aliases and
functions; globs; arithmetic; the body of a here-document is read as commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

MARK = "\x01"
"""Stands in a word for the output of what was substituted there."""
_SPLIT = "\x02"  # where `$IFS` ends a word
TEXT_MAX = 8192  # characters: twice what the sensor keeps of all arguments
DEPTH_MAX = 4  # of substitutions in one another
COMMANDS_MAX = 512  # in one text: `a|a|a|…` of 4,096 bytes has 2,048

_BLANK = re.compile(r"(?:[^\S\n]|\\\n)+|#[^\n]*")
_OPERATOR = re.compile(r"\d*(?:<<<|<<-|<<|<>|<&|>&|>>|>\||<(?!\()|>(?!\())|&>>|&>|&&|\|\||;;|\|&|\(\)|[;&|()\n]")
_PLAIN = re.compile(r"[^\s'\"\\$`;&|<>()]+")
_QUOTED_PLAIN = re.compile(r"[^\"\\$`]+")
_ANSI_QUOTED = re.compile(r"\$'((?:[^'\\]|\\.)*)'?", re.DOTALL)
_IFS = re.compile(r"\$(?:IFS(?![A-Za-z0-9_])|\{IFS[^}]{0,32}\})")
_NOTHING = re.compile(r"\$(?:[@*]|\{[@*]\}|'')")
_BRACES = re.compile(r"\{([^{}\s]*,[^{}\s]*)\}")
_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_KEYWORDS = frozenset({"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "{", "}", "!", "time"})
_OURS = str.maketrans({MARK: " ", _SPLIT: " "})
_PIPES = frozenset({"|", "|&"})


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A simple command: its words, program first, and what stands around them."""

    words: tuple[str, ...]
    assigned: tuple[str, ...] = ()
    """`NAME=VALUE` before the program."""
    writes: tuple[str, ...] = ()
    """What `>`, `>>` and their like lead to."""
    reads: tuple[str, ...] = ()
    """What `<` leads to."""
    given: tuple[str, ...] = ()
    """The text of `<<<`."""
    inner: tuple[Script, ...] = ()
    """What was substituted into its words and redirections."""


Pipeline = tuple[Command, ...]
Script = tuple[Pipeline, ...]


def read(text: str) -> Script:
    """Return the pipelines of a shell text, in order."""
    return _Reader(text[:TEXT_MAX].translate(_OURS)).script()


class _Word(msgspec.Struct, frozen=True):
    text: str
    inner: tuple[Script, ...]
    bare: bool
    """Nothing of it was quoted."""


class _Reader:
    """One pass over one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._commands = 0

    def script(self) -> Script:
        """Return what is read from here to the end of the text, or to the `)` that ends a substitution."""
        grouping = _Grouping()
        for token in self._tokens():
            if self._commands > COMMANDS_MAX:
                break
            self._commands += grouping.take(token)
        return grouping.finished()

    def _tokens(self) -> Iterator[_Word | str]:
        """Yield operators and words."""
        opened = 0
        while self._skip_blanks():
            operator = _OPERATOR.match(self._text, self._at)
            if operator is None:
                yield from self._words()
                continue
            self._at = operator.end()
            opened += {"(": 1, ")": -1}.get(operator[0], 0)
            if opened < 0 and self._depth:
                return
            yield operator[0]

    def _skip_blanks(self) -> bool:
        """Pass over blanks and comments; return whether there is more."""
        while blank := _BLANK.match(self._text, self._at):
            self._at = blank.end()
        return self._at < len(self._text)

    def _words(self) -> Iterator[_Word]:
        """Yield the word that begins here; `{a,b}` alone and `$IFS` make several."""
        began = self._at
        parts: list[str] = []
        inner: list[Script] = []
        while self._at < len(self._text) and (part := self._part(inner)) is not None:
            parts.append(part)
        self._at += self._at == began  # whatever it is, it is passed
        raw = self._text[began : self._at]
        braces = _BRACES.fullmatch(raw)
        texts = braces[1].split(",") if braces else "".join(parts).split(_SPLIT)
        bare = not any(quote in raw for quote in "'\"\\")
        yield from (_Word(text, tuple(inner), bare) for text in texts if text or not bare)

    def _part(self, inner: list[Script]) -> str | None:
        """Return the next piece of a word without its quotes, or None where the word ends."""
        if plain := _PLAIN.match(self._text, self._at):
            self._at = plain.end()
            return plain[0]
        match self._text[self._at]:
            case "'":
                return self._single_quoted()
            case '"':
                return self._double_quoted(inner)
            case "\\":
                return self._escaped()
            case "$" | "`":
                return self._dollar(inner, quoted=False)
            case "<" | ">" if self._text.startswith("(", self._at + 1):
                self._at += 2
                return self._substituted(inner)
        return None

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        end = len(self._text) if end < 0 else end
        quoted = self._text[self._at + 1 : end]
        self._at = end + 1
        return quoted

    def _double_quoted(self, inner: list[Script]) -> str:
        self._at += 1
        parts = []
        while self._at < len(self._text) and self._text[self._at] != '"':
            parts.append(self._double_quoted_part(inner))
        self._at += 1
        return "".join(parts)

    def _double_quoted_part(self, inner: list[Script]) -> str:
        if plain := _QUOTED_PLAIN.match(self._text, self._at):
            self._at = plain.end()
            return plain[0]
        if self._text[self._at] == "\\":
            kept = "" if self._text[self._at + 1 : self._at + 2] in {"$", "`", '"', "\\", "\n"} else "\\"
            return kept + self._escaped()
        return self._dollar(inner, quoted=True)

    def _escaped(self) -> str:
        """Return the character after a backslash; a line that goes on is nothing."""
        escaped = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        return "" if escaped == "\n" else escaped

    def _dollar(self, inner: list[Script], *, quoted: bool) -> str:
        """Return what `$` or a backtick begins: the mark of a substitution, or the text as it stands."""
        text, at = self._text, self._at
        if text[at] == "`":
            return self._backticked(inner)
        if text.startswith("$(", at):
            self._at += 2
            return self._substituted(inner)
        if not quoted and (ansi := _ANSI_QUOTED.match(text, at)):
            self._at = ansi.end()
            return _ESCAPE.sub(_unescaped, ansi[1])
        if not quoted and (space := _IFS.match(text, at)):
            self._at = space.end()
            return _SPLIT
        if nothing := _NOTHING.match(text, at):
            self._at = nothing.end()
            return ""
        self._at += 1
        return "$"

    def _substituted(self, inner: list[Script]) -> str:
        """Read a substitution to its `)`; too deep, it is text."""
        if self._depth >= DEPTH_MAX:
            return "("
        self._depth += 1
        inner.append(self.script())
        self._depth -= 1
        return MARK

    def _backticked(self, inner: list[Script]) -> str:
        end = self._text.find("`", self._at + 1)
        end = len(self._text) if end < 0 else end
        reader = _Reader(self._text[self._at + 1 : end])
        inner.append(reader.script())
        self._commands += reader._commands
        self._at = end + 1
        return MARK


def _unescaped(escape: re.Match[str]) -> str:
    """Return what an escape of `$'…'` stands for."""
    if escape[1] or escape[2]:
        return chr(int(escape[1], 16) if escape[1] else int(escape[2], 8) & 0xFF).translate(_OURS)
    return {"n": "\n", "t": "\t", "r": "\r"}.get(escape[3], escape[3])


class _Grouping:
    """Puts words and operators together to commands, and commands to pipelines."""

    def __init__(self) -> None:
        self._script: list[Pipeline] = []
        self._pipeline: list[Command] = []
        self._around: dict[str, list[str]] = {}
        self._words: list[str] = []
        self._inner: list[Script] = []
        self._redirection: str | None = None

    def take(self, token: _Word | str) -> int:
        """Take the next token; return how many commands it ended."""
        if isinstance(token, _Word):
            self._take_word(token)
            return 0
        if "<" in token or (">" in token):
            self._redirection = token.lstrip("0123456789")
            return 0
        if token in {"(", ")"}:
            return 0
        return self._end_command(piped=token in _PIPES)

    def finished(self) -> Script:
        """Return all, the last command ended."""
        self._end_command(piped=False)
        return tuple(self._script)

    def _take_word(self, word: _Word) -> None:
        self._inner += word.inner
        if self._redirection is not None:
            self._around.setdefault(self._place(word), []).append(word.text)
            self._redirection = None
        elif not self._words and word.bare and word.text in _KEYWORDS:
            pass
        elif not self._words and _ASSIGNED.match(word.text):
            self._around.setdefault("assigned", []).append(word.text)
        else:
            self._words.append(word.text)

    def _place(self, word: _Word) -> str:
        """Return which field the target of a redirection belongs to; a descriptor's copy to none."""
        if self._redirection == "<<<":
            return "given"
        if self._redirection in {"<&", ">&"} and word.text.isdigit():
            return "copied"
        return "writes" if ">" in (self._redirection or "") else "reads"

    def _end_command(self, *, piped: bool) -> int:
        ended = bool(self._words or self._around or self._inner)
        if ended:
            self._around.pop("copied", None)
            around = {field: tuple(values) for field, values in self._around.items()}
            command = Command(words=tuple(self._words), inner=tuple(self._inner), **around)
            self._pipeline.append(command)
            self._words, self._around, self._inner = [], {}, []
        self._redirection = None
        if not piped and self._pipeline:
            self._script.append(tuple(self._pipeline))
            self._pipeline = []
        return ended
