"""Functions that Python 2.7 or 3.3 to 3.10 compiled, run instruction by instruction, as no Python of today runs them.

A Lambda layer's function is a few instructions: names, attributes, calls, arithmetic, slices, now and then a branch or
a comprehension. Layouts after Python/marshal.c and Lib/opcode.py of these versions. What else there is in one is named
(`find_unknown`), and then nothing of it is run. Whether code of a file may run at all is asked before (`lambdas`).
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_CODE, _REF = ord("c"), 0x80
_SECOND, _BEFORE_38, _BEFORE_311 = 4, 5, 6  # numbers before the instructions of a code object
_HAVE_ARGUMENT = 90
_VAR_ARGS, _VAR_KEYWORDS = 4, 8
_SINGLES: Mapping[int, Any] = {ord("N"): None, ord("T"): True, ord("F"): False, ord("."): Ellipsis}
_UNARY: Mapping[int, Callable[[Any], Any]] = {
    10: operator.pos, 11: operator.neg, 12: operator.not_, 15: operator.invert, 68: iter
}  # fmt: skip
# Each in place as well: tensors and numbers are not changed in place.
_BINARY: Mapping[int, Callable[[Any, Any], Any]] = {
    16: operator.matmul, 17: operator.matmul, 19: operator.pow, 67: operator.pow, 20: operator.mul, 57: operator.mul,
    22: operator.mod, 59: operator.mod, 23: operator.add, 55: operator.add, 24: operator.sub, 56: operator.sub,
    25: operator.getitem, 26: operator.floordiv, 28: operator.floordiv, 27: operator.truediv, 29: operator.truediv,
    62: operator.lshift, 63: operator.rshift, 64: operator.and_, 65: operator.xor, 66: operator.or_,
}  # fmt: skip
_COMPARE: Sequence[Callable[[Any, Any], Any]] = (
    operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge,
    lambda a, b: a in b, lambda a, b: a not in b, operator.is_, operator.is_not,
)  # fmt: skip
_POP, _ROT_TWO, _ROT_THREE, _DUP, _NOP, _RETURN = 1, 2, 3, 4, 9, 83
_BLOCKS = (87, 120)  # around a loop, for what leaves it early
_DIVIDE = (21, 58)  # of Python 2
_UNPACK, _FOR, _CONST, _TUPLE, _LIST, _ATTRIBUTE, _COMPARISON = 92, 93, 100, 102, 103, 106, 107
_IMPORT, _IMPORT_FROM, _FORWARD, _FALSE_OR_POP, _TRUE_OR_POP, _ABSOLUTE, _IF_FALSE, _IF_TRUE = range(108, 116)
_GLOBAL, _FAST, _STORE, _CALL, _MAKE, _SLICE, _CLOSURE_35, _CELL, _DEREF, _STORE_DEREF = (
    116, 124, 125, 131, 132, 133, 134, 135, 136, 137
)  # fmt: skip
_CALL_KEYWORDS, _APPEND, _METHOD, _CALL_METHOD = 141, 145, 160, 161
_JUMPS = (_FOR, _FORWARD, _FALSE_OR_POP, _TRUE_OR_POP, _ABSOLUTE, _IF_FALSE, _IF_TRUE)
_ANYWHERE = frozenset({
    *_UNARY, *_BINARY, *_JUMPS, *_BLOCKS, _POP, _ROT_TWO, _ROT_THREE, _DUP, _NOP, _RETURN, _UNPACK, _CONST, _TUPLE,
    _LIST, _ATTRIBUTE, _COMPARISON, _IMPORT, _IMPORT_FROM, _GLOBAL, _FAST, _STORE, _CALL, _MAKE, _SLICE, _CELL, _DEREF,
    _STORE_DEREF,
})  # fmt: skip
_OF_SECOND = frozenset({*_DIVIDE, 30, 31, 32, 33, 94})  # division, slices, and what appends to a list
_OF_WORDS = frozenset({_CALL_KEYWORDS, _APPEND, _METHOD, _CALL_METHOD})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OldCode:
    """A code object.

    Attributes:
      layout: how many numbers stand before its instructions, by which its Python is known.
      steps: (opcode, argument) by position; -1 where it has none.
      words: whether each instruction takes two bytes (since Python 3.6).
    """

    layout: int
    arguments: int
    keyword_only: int
    flags: int
    steps: Mapping[int, tuple[int, int]]
    words: bool
    constants: tuple[Any, ...]
    names: tuple[str, ...]
    locals: tuple[str, ...]
    free: tuple[str, ...]
    cells: tuple[str, ...]
    name: str


def parse(data: bytes) -> OldCode | None:
    """The code object in marshalled bytes; None where they hold none of these versions."""
    try:
        found = _Reader(data).read()
    except (IndexError, ValueError, struct.error, RecursionError, TypeError):
        return None
    return found if isinstance(found, OldCode) else None


def find_unknown(code: OldCode) -> list[str]:
    """What its functions do that is not run here, as "opcode 122"; empty where all of it is."""
    known = _ANYWHERE | (_OF_SECOND if code.layout == _SECOND else frozenset())
    known |= _OF_WORDS if code.words else {_CLOSURE_35, _APPEND}
    found = {f"opcode {opcode}" for opcode, _ in code.steps.values() if opcode not in known}
    if code.flags & (_VAR_ARGS | _VAR_KEYWORDS):
        found.add("* or ** arguments")
    if code.layout == _BEFORE_311 and any(opcode in _JUMPS for opcode, _ in code.steps.values()):
        found.add("branches of Python 3.8 to 3.10")  # 3.10 counts jumps otherwise, and does not say that it is 3.10
    for constant in code.constants:
        if isinstance(constant, OldCode):
            found.update(find_unknown(constant))
    return sorted(found)


def may_know_second(code: OldCode) -> bool:
    """Whether it may have been written for TensorFlow 2: Python 3.8 and later never saw another."""
    return code.layout == _BEFORE_311


class _Reader:
    """marshal of Python 2.7 to 3.10: values, and code objects of these."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._references: list[Any] = []
        self._interned: list[str] = []

    def read(self) -> Any:
        kind = self._take(1)[0]
        slot = -1
        if kind & _REF:
            slot = len(self._references)
            self._references.append(None)
        value = self._read_value(kind & ~_REF)
        if slot >= 0:
            self._references[slot] = value
        return value

    def _take(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._data):
            raise ValueError("truncated")
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])

    def _read_value(self, kind: int) -> Any:
        letter = chr(kind)
        if kind in _SINGLES:
            return _SINGLES[kind]
        if kind == _CODE:
            return self._read_code()
        if letter == "i":
            return self._number()
        if letter == "g":
            return struct.unpack("<d", self._take(8))[0]
        if letter in "sutaA":
            data = self._take(self._number())
            if letter == "s":
                return data
            text = data.decode("utf-8", "surrogatepass") if letter in "ut" else data.decode("latin-1")
            if letter == "t":
                self._interned.append(text)
            return text
        if letter in "zZ":
            return self._take(self._take(1)[0]).decode("latin-1")
        if letter == "R":
            return self._interned[self._number()]
        if letter == "r":
            return self._references[self._number()]
        if letter in "()":
            return tuple(self.read() for _ in range(self._number() if letter == "(" else self._take(1)[0]))
        raise ValueError(f"a value of kind {letter!r}")

    def _read_code(self) -> OldCode:
        start = self._at
        layout = 0
        while self._data[start + 4 * layout] & ~_REF != ord("s") and layout <= _BEFORE_311:
            layout += 1
        if layout not in (_SECOND, _BEFORE_38, _BEFORE_311):
            raise ValueError("no code of these versions")
        numbers = [self._number() for _ in range(layout)]
        instructions = self.read()
        constants, names, variables, free, cells, _, name = (self.read() for _ in range(7))
        if not all(isinstance(part, tuple) for part in (constants, names, variables, free, cells)) or not instructions:
            raise ValueError("a layout of later versions")
        self._number()
        self.read()  # which instruction is of which line
        second = layout == _SECOND
        steps = None if layout == _BEFORE_311 else _split(instructions, second=second)
        return OldCode(
            layout=layout,
            arguments=numbers[0],
            keyword_only=0 if second else numbers[-4],
            flags=numbers[-1],
            steps=_split_words(instructions) if steps is None else steps,
            words=steps is None,
            constants=tuple(_spell(value, second) for value in constants),
            names=tuple(_spell(value, True) for value in names),
            locals=tuple(_spell(value, True) for value in variables),
            free=tuple(_spell(value, True) for value in free),
            cells=tuple(_spell(value, True) for value in cells),
            name=_spell(name, True),
        )


def _spell(value: Any, is_text: bool) -> Any:
    """Text of Python 2 is bytes."""
    if isinstance(value, tuple):
        return tuple(_spell(item, is_text) for item in value)
    return value.decode("latin-1") if is_text and isinstance(value, bytes) else value


def _split(data: bytes, *, second: bool) -> dict[int, tuple[int, int]] | None:
    """Instructions of one byte, or of three with an argument; None where they are words: the second byte of a word
    without an argument is 0, which is no instruction."""
    steps: dict[int, tuple[int, int]] = {}
    at = more = 0
    extended = 145 if second else 144
    while at < len(data):
        opcode = data[at]
        size = 3 if opcode >= _HAVE_ARGUMENT else 1
        if opcode == 0 or at + size > len(data):
            return None
        if opcode == extended:
            more = int.from_bytes(data[at + 1 : at + 3], "little") << 16
            steps[at] = (_NOP, -1)
        else:
            steps[at] = (opcode, int.from_bytes(data[at + 1 : at + 3], "little") | more if size == 3 else -1)
            more = 0
        at += size
    return steps


def _split_words(data: bytes) -> dict[int, tuple[int, int]]:
    steps: dict[int, tuple[int, int]] = {}
    more = 0
    for at in range(0, len(data) - 1, 2):
        opcode, argument = data[at], data[at + 1] | more
        more = argument << 8 if opcode == 144 else 0
        steps[at] = (_NOP, -1) if opcode == 144 else (opcode, argument if opcode >= _HAVE_ARGUMENT else -1)
    return steps


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surroundings:
    """What code finds around itself.

    Attributes:
      names: globals and builtins.
      load_module: name of a module -> it.
      divide: `/` of Python 2.
    """

    names: Mapping[str, Any]
    load_module: Callable[[str], Any]
    divide: Callable[[Any, Any], Any]


class _Cell:
    """A variable that an inner function shares."""

    def __init__(self, value: Any = None) -> None:
        self.value = value


def make_function(
    code: OldCode, around: Surroundings, *, defaults: Sequence[Any] = (), closure: Sequence[Any] = ()
) -> Callable[..., Any]:
    """A function of today that runs old code.

    Args:
      code: `find_unknown` finds nothing in it.
      around: what it finds around itself.
      defaults: of its last positional arguments.
      closure: values of its free variables.
    """
    return _make(code, around, tuple(defaults), {}, tuple(_Cell(value) for value in closure))


def _make(
    code: OldCode, around: Surroundings, defaults: tuple[Any, ...], named: Mapping[str, Any], cells: tuple[_Cell, ...]
) -> Callable[..., Any]:
    count = code.arguments
    # The iterable of a comprehension is an argument called ".0".
    spelled = [name if name.isidentifier() else f"_{name[1:]}" for name in code.locals]
    parameters = [
        inspect.Parameter(
            spelled[index],
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=defaults[index - count] if index >= count - len(defaults) else inspect.Parameter.empty,
        )
        for index in range(count)
    ] + [
        inspect.Parameter(
            spelled[index], inspect.Parameter.KEYWORD_ONLY, default=named.get(spelled[index], inspect.Parameter.empty)
        )
        for index in range(count, count + code.keyword_only)
    ]
    signature = inspect.Signature(parameters)

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        variables = {code.locals[spelled.index(name)]: value for name, value in bound.arguments.items()}
        return _run(code, around, variables, cells)

    function.__name__ = code.name if code.name.isidentifier() else "function"
    function.__signature__ = signature  # type: ignore[attr-defined]  # Keras asks for `mask` and `training`
    return function


def _run(code: OldCode, around: Surroundings, variables: dict[str, Any], free: Sequence[_Cell]) -> Any:
    stack: list[Any] = []
    cells = [*(_Cell(variables.get(name)) for name in code.cells), *free]
    order = sorted(code.steps)
    following = dict(zip(order, [*order[1:], -1], strict=True))
    at = order[0]
    while True:
        opcode, argument = code.steps[at]
        after = following[at]
        at = after
        if opcode == _RETURN:
            return stack.pop()
        if opcode in _JUMPS:
            at = _jump(opcode, argument, after, stack)
        elif opcode in (_MAKE, _CLOSURE_35):
            stack.append(_make_inner(code, around, stack, opcode, argument))
        elif opcode in (_FAST, _STORE):
            name = code.locals[argument]
            if opcode == _FAST:
                stack.append(variables[name])
            else:
                variables[name] = stack.pop()
        elif opcode == _CELL:
            stack.append(cells[argument])
        elif opcode == _DEREF:
            stack.append(cells[argument].value)
        elif opcode == _STORE_DEREF:
            cells[argument].value = stack.pop()
        else:
            _step(code, around, stack, opcode, argument)


def _jump(opcode: int, argument: int, after: int, stack: list[Any]) -> int:
    """Where to go on."""
    if opcode == _FOR:
        for value in stack[-1]:
            stack.append(value)
            return after
        stack.pop()
        return after + argument
    if opcode == _FORWARD:
        return after + argument
    if opcode == _ABSOLUTE:
        return argument
    if opcode in (_IF_FALSE, _IF_TRUE):
        return argument if bool(stack.pop()) == (opcode == _IF_TRUE) else after
    if bool(stack[-1]) == (opcode == _TRUE_OR_POP):
        return argument
    stack.pop()
    return after


def _make_inner(code: OldCode, around: Surroundings, stack: list[Any], opcode: int, argument: int) -> Any:
    """MAKE_FUNCTION: since 3.6 flags say what lies on the stack; before, counts of defaults."""
    if code.layout != _SECOND:
        stack.pop()  # its qualified name
    inner = stack.pop()
    if code.words:
        cells = stack.pop() if argument & 8 else ()
        if argument & 4:
            stack.pop()  # annotations
        named = stack.pop() if argument & 2 else {}
        return _make(inner, around, stack.pop() if argument & 1 else (), named, cells)
    cells = stack.pop() if opcode == _CLOSURE_35 else ()
    named = {}
    for _ in range(argument >> 8 & 0xFF):
        value, name = stack.pop(), stack.pop()
        named[name] = value
    return _make(inner, around, tuple(_take(stack, argument & 0xFF)), named, cells)


def _step(code: OldCode, around: Surroundings, stack: list[Any], opcode: int, argument: int) -> None:
    """What only reads and writes the stack."""
    if opcode in _UNARY:
        stack.append(_UNARY[opcode](stack.pop()))
    elif opcode in _BINARY or opcode in _DIVIDE:
        second, first = stack.pop(), stack.pop()
        stack.append(around.divide(first, second) if opcode in _DIVIDE else _BINARY[opcode](first, second))
    elif opcode == _COMPARISON:
        second, first = stack.pop(), stack.pop()
        stack.append(_COMPARE[argument](first, second))
    elif opcode == _CONST:
        stack.append(code.constants[argument])
    elif opcode in (_GLOBAL, _ATTRIBUTE, _METHOD, _IMPORT_FROM):
        name = code.names[argument]
        if opcode == _GLOBAL:
            stack.append(_find_name(around, name))
        else:
            stack.append(getattr(stack[-1] if opcode == _IMPORT_FROM else stack.pop(), name))
    elif opcode == _IMPORT:
        names, _ = stack.pop(), stack.pop()  # names, and the level of a relative import
        whole = code.names[argument]
        # `import a.b` gives a, `from a.b import c` asks a.b for c.
        stack.append(around.load_module(whole if names else whole.partition(".")[0]))
    elif opcode in (_CALL, _CALL_METHOD, _CALL_KEYWORDS):
        stack.append(_call(code, stack, opcode, argument))
    elif opcode in (_TUPLE, _LIST):
        items = _take(stack, argument)
        stack.append(tuple(items) if opcode == _TUPLE else items)
    elif opcode == _SLICE:
        stack.append(slice(*_take(stack, argument)))
    elif opcode in (30, 31, 32, 33):  # x[:], x[a:], x[:b], x[a:b] of Python 2
        stop = stack.pop() if opcode in (32, 33) else None
        start = stack.pop() if opcode in (31, 33) else None
        stack.append(stack.pop()[slice(start, stop)])
    elif opcode in (94, _APPEND):
        value = stack.pop()
        stack[-argument].append(value)
    elif opcode == _UNPACK:
        stack.extend(reversed(list(stack.pop())))
    else:
        _shuffle(stack, opcode)


def _shuffle(stack: list[Any], opcode: int) -> None:
    if opcode == _POP:
        stack.pop()
    elif opcode == _DUP:
        stack.append(stack[-1])
    elif opcode == _ROT_TWO:
        stack[-2:] = [stack[-1], stack[-2]]
    elif opcode == _ROT_THREE:
        stack[-3:] = [stack[-1], stack[-3], stack[-2]]


def _call(code: OldCode, stack: list[Any], opcode: int, argument: int) -> Any:
    """Since 3.6 the names of keyword arguments are a tuple above them; before, each lies below its value."""
    named: dict[str, Any] = {}
    if opcode == _CALL_KEYWORDS:
        names = stack.pop()
        named = dict(zip(names, _take(stack, len(names)), strict=True))
        argument -= len(names)
    elif not code.words:
        pairs = _take(stack, 2 * (argument >> 8))
        named = dict(zip(pairs[::2], pairs[1::2], strict=True))
        argument &= 0xFF
    given = _take(stack, argument)
    return stack.pop()(*given, **named)


def _take(stack: list[Any], count: int) -> list[Any]:
    """The uppermost values, the lowest first."""
    taken = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return taken


def _find_name(around: Surroundings, name: str) -> Any:
    if name not in around.names:
        raise NameError(f"name {name!r} is not defined")
    return around.names[name]
