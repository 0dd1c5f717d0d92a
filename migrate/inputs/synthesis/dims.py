"""Symbolic dimensions and the equations between them.

A dimension is an int, a Symbol (an unknown one of an input), a Term over them, or None (nothing is
known). Products and sums are kept in a normal form (`("mul", coefficient, atoms...)`, `("add",
constant, atoms...)`, atoms sorted), so that equal expressions compare equal and common factors cancel.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """An unknown dimension, or an unknown small integer, of an input."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """`op` over dimensions: mul, add, floordiv, ceildiv, max, min, mod."""

    op: str
    args: tuple[Any, ...]


Dim = int | Symbol | Term | None

_EVALUATE: dict[str, Callable[[int, int], int]] = {
    "mul": lambda a, b: a * b,
    "add": lambda a, b: a + b,
    "floordiv": lambda a, b: a // b if b else 0,
    "ceildiv": lambda a, b: -(-a // b) if b else 0,
    "max": max,
    "min": min,
    "mod": lambda a, b: a % b if b else 0,
}


def _atoms(op: str, dim: Dim, neutral: int) -> tuple[int, tuple[Any, ...]]:
    """(constant, atoms) of a product or sum."""
    if isinstance(dim, int):
        return dim, ()
    if isinstance(dim, Term) and dim.op == op:
        return dim.args[0], dim.args[1:]
    return neutral, (dim,)


def _join(op: str, constant: int, atoms: Iterable[Any], neutral: int) -> Dim:
    atoms = tuple(sorted(atoms, key=repr))
    if not atoms or (op == "mul" and constant == 0):
        return constant
    if constant == neutral and len(atoms) == 1:
        only: Dim = atoms[0]
        return only
    return Term(op, (constant, *atoms))


def mul(a: Dim, b: Dim) -> Dim:
    if a is None or b is None:
        return None
    (c, x), (d, y) = _atoms("mul", a, 1), _atoms("mul", b, 1)
    return _join("mul", c * d, x + y, 1)


def add(a: Dim, b: Dim) -> Dim:
    if a is None or b is None:
        return None
    (c, x), (d, y) = _atoms("add", a, 0), _atoms("add", b, 0)
    atoms = list(x + y)
    for atom in list(atoms):  # x + -x
        opposite = mul(atom, -1)
        if atom in atoms and opposite in atoms:
            atoms.remove(atom)
            atoms.remove(opposite)
    return _join("add", c + d, atoms, 0)


def sub(a: Dim, b: Dim) -> Dim:
    return add(a, mul(b, -1))


def apply(op: str, a: Dim, b: Dim) -> Dim:
    """One of the operations of Term; folds what is known."""
    if a is None or b is None:
        return None
    if op == "mul":
        return mul(a, b)
    if op == "add":
        return add(a, b)
    if isinstance(a, int) and isinstance(b, int):
        return _EVALUATE[op](a, b)
    if op in ("floordiv", "ceildiv"):
        if b == 1:
            return a
        quotient = exact_div(a, b)
        if quotient is not None:
            return quotient
    if op in ("max", "min") and a == b:
        return a
    return Term(op, (a, b))


def product(dims: Iterable[Dim]) -> Dim:
    total: Dim = 1
    for dim in dims:
        total = mul(total, dim)
    return total


def exact_div(total: Dim, divisor: Dim) -> Dim:
    """total / divisor where common factors leave no rest, else None."""
    rest = _cancel(total, divisor)
    return rest[0] if rest is not None and rest[1] == 1 else None


def _cancel(a: Dim, b: Dim) -> tuple[Dim, Dim] | None:
    """Both sides without their common factors; None where a factor is zero or unknown."""
    if a is None or b is None:
        return None
    (c, x), (d, y) = _atoms("mul", a, 1), _atoms("mul", b, 1)
    if not c or not d:
        return None
    left, right = list(x), list(y)
    for atom in x:
        if atom in right:
            left.remove(atom)
            right.remove(atom)
    if c % d == 0:
        c, d = c // d, 1
    elif d % c == 0:
        c, d = 1, d // c
    return _join("mul", c, left, 1), _join("mul", d, right, 1)


def find_symbols(dim: Dim) -> set[Symbol]:
    if isinstance(dim, Symbol):
        return {dim}
    if isinstance(dim, Term):
        return set().union(*(find_symbols(arg) for arg in dim.args))
    return set()


def evaluate(dim: Dim, values: dict[Symbol, int]) -> int | None:
    """The number; None where a symbol has no value."""
    if isinstance(dim, Symbol):
        return values.get(dim)
    if not isinstance(dim, Term):
        return dim
    args: list[int] = []
    for arg in dim.args:
        number = evaluate(arg, values)
        if number is None:
            return None
        args.append(number)
    return functools.reduce(_EVALUATE[dim.op], args)


@dataclasses.dataclass(slots=True)
class Equations:
    """What the graph demands of the symbols.

    Attributes:
      bindings: symbols that are settled; the right side may hold other symbols.
      checks: an ordered set of (kind, a, b, weight) still open; kind is eq, ge or divides (b divides a).
      upper: the largest value that a symbol may take.
      roles: what a symbol is: batch, spatial, length, size, ...; decides its default.
      contradictions: sum of the weights of the demands that cannot be met.
    """

    bindings: dict[Symbol, Dim] = dataclasses.field(default_factory=dict)
    checks: dict[tuple[str, Dim, Dim, int], None] = dataclasses.field(default_factory=dict)
    upper: dict[Symbol, int] = dataclasses.field(default_factory=dict)
    roles: dict[Symbol, str] = dataclasses.field(default_factory=dict)
    contradictions: int = 0

    def resolve(self, dim: Dim) -> Dim:
        """`dim` with settled symbols replaced."""
        if isinstance(dim, Symbol):
            return self.resolve(self.bindings[dim]) if dim in self.bindings else dim
        if isinstance(dim, Term):
            return functools.reduce(functools.partial(apply, dim.op), [self.resolve(arg) for arg in dim.args])
        return dim

    def set_role(self, dim: Dim, role: str) -> None:
        for symbol in find_symbols(self.resolve(dim)):
            if self.roles.get(symbol) in (None, "batch", "length"):
                self.roles[symbol] = role

    def equate(self, a: Dim, b: Dim, weight: int = 10) -> None:
        """Demands a == b; a weight below 10 is a wish."""
        a, b = self.resolve(a), self.resolve(b)
        if a is None or b is None or a == b:
            return
        if isinstance(a, int):
            a, b = b, a
        if isinstance(a, int):
            self.contradictions += weight
            return
        if weight < 10:
            self._postpone("eq", a, b, weight)
            return
        for left, right in ((a, b), (b, a)):
            if isinstance(left, Symbol) and left not in find_symbols(right):
                self._bind(left, right)
                return
        rest = _cancel(a, b)
        if rest is not None and rest != (a, b):
            self.equate(*rest, weight)
        elif isinstance(a, Term) and a.op == "add" and isinstance(b, int) and a.args[0]:
            self.equate(add(a, -a.args[0]), b - a.args[0], weight)
        else:
            self._postpone("eq", a, b, weight)

    def at_least(self, a: Dim, low: Dim, weight: int = 10) -> None:
        a, low = self.resolve(a), self.resolve(low)
        if a is None or low is None:
            return
        if isinstance(a, int) and isinstance(low, int):
            self.contradictions += weight if a < low else 0
        elif isinstance(low, Symbol) and isinstance(a, int):
            self.upper[low] = min(a, self.upper.get(low, a))
        else:
            self._postpone("ge", a, low, weight)

    def divides(self, divisor: Dim, total: Dim) -> None:
        divisor, total = self.resolve(divisor), self.resolve(total)
        if divisor is None or total is None or exact_div(total, divisor) is not None:
            return
        self._postpone("divides", total, divisor, 10)

    def settle_wishes(self) -> None:
        """Turns the wishes that contradict nothing into demands, in the order in which they came."""
        wishes = [check for check in self.checks if check[0] == "eq" and check[3] < 10]
        for check in wishes:
            a, b = self.resolve(check[1]), self.resolve(check[2])
            if not (isinstance(a, int) and isinstance(b, int)):
                self.equate(a, b, 10)
                self.checks.pop(check, None)

    def _postpone(self, kind: str, a: Dim, b: Dim, weight: int) -> None:
        self.checks[kind, a, b, weight] = None

    def _bind(self, symbol: Symbol, dim: Dim) -> None:
        role = self.roles.get(symbol)
        if role == "batch" and isinstance(dim, Symbol) and self.roles.get(dim) != "batch":
            self.roles[dim] = "batch"
        if symbol in self.upper and isinstance(dim, Symbol):
            self.upper[dim] = min(self.upper[symbol], self.upper.get(dim, self.upper[symbol]))
        self.bindings[symbol] = dim

    def broken(self, values: dict[Symbol, int], checks: Iterable[tuple[str, Dim, Dim, int]]) -> int:
        """Weights of the checks that `values` break."""
        total = 0
        for kind, a, b, weight in checks:
            left, right = evaluate(a, values), evaluate(b, values)
            if left is None or right is None:
                continue
            good = (
                left == right
                if kind == "eq"
                else left >= right
                if kind == "ge"
                else bool(right) and left % right == 0 and left > 0
            )
            total += 0 if good else weight
        return total


def find_values(equations: Equations, symbols: Iterable[Symbol], batch: int) -> tuple[dict[Symbol, int], int]:
    """A value for each symbol, and the weight of the demands that stay broken.

    Free symbols take the default of their role unless that breaks a check; then the smallest change that
    mends it is searched for, over sizes that models use.
    """
    checks = [(k, equations.resolve(a), equations.resolve(b), w) for k, a, b, w in equations.checks]
    free = set().union(*(find_symbols(equations.resolve(symbol)) for symbol in symbols), set())
    free |= set().union(*(find_symbols(a) | find_symbols(b) for _, a, b, _ in checks), set())
    candidates = {symbol: _candidates(equations, symbol, batch) for symbol in sorted(free)}
    values = {symbol: options[0] for symbol, options in candidates.items()}
    if batch == 0:  # An empty batch meets or breaks the demands for reasons of its own.
        checks = []
    for component in _components(checks):
        related = [check for check in checks if component & (find_symbols(check[1]) | find_symbols(check[2]))]
        if equations.broken(values, related):
            _search(equations, sorted(component), candidates, related, values)
    for symbol in symbols:
        number = evaluate(equations.resolve(symbol), values)
        if number is not None:
            values[symbol] = number
    return values, equations.contradictions + equations.broken(values, checks)


_DEFAULTS = {"spatial": 32, "channel": 3, "length": 2, "size": 2, "samples": 16000, "time": 5, "free": 4}
# Tried first, in this order; then every size up to 512.
_USUAL = (
    1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 28, 32, 64, 128, 224, 256, 299, 300, 512, 600, 640, 784, 1000,
    1024, 2048, 3072, 4096, 8000, 16000,
)  # fmt: skip


def _candidates(equations: Equations, symbol: Symbol, batch: int) -> list[int]:
    role = equations.roles.get(symbol, "free")
    default = batch if role == "batch" else _DEFAULTS.get(role, 4)
    upper = equations.upper.get(symbol)
    options = [default, *_USUAL, *range(1, 513)]
    # A number that the symbol is compared with is a likely one: 784 for "784 divides b * n".
    for _, a, b, _ in equations.checks:
        for side in (equations.resolve(a), equations.resolve(b)):
            options += [abs(c) for c in _constants(side) if 0 < abs(c) < 1_000_000]
    if upper is not None:
        options = [min(default, upper)] + [n for n in options if n <= upper]
    return list(dict.fromkeys(options)) or [max(0, upper or 0)]


def _constants(dim: Dim) -> list[int]:
    if isinstance(dim, int):
        return [dim]
    return [c for arg in dim.args for c in _constants(arg)] if isinstance(dim, Term) else []


def _components(checks: list[tuple[str, Dim, Dim, int]]) -> list[set[Symbol]]:
    components: list[set[Symbol]] = []
    for _, a, b, _ in checks:
        joined = find_symbols(a) | find_symbols(b)
        if joined:
            rest = [c for c in components if not c & joined]
            components = [*rest, joined.union(*(c for c in components if c & joined))]
    return components


def _search(
    equations: Equations,
    symbols: list[Symbol],
    candidates: dict[Symbol, list[int]],
    checks: list[tuple[str, Dim, Dim, int]],
    values: dict[Symbol, int],
) -> None:
    """Improves `values` in place: each symbol alone, two spatial ones together, then pairs."""
    best = equations.broken(values, checks)
    # Batch sizes are asked for by the caller: they move last.
    symbols = sorted(symbols, key=lambda symbol: equations.roles.get(symbol) == "batch")
    movable = [symbol for symbol in symbols if equations.roles.get(symbol) != "batch"]

    def attempt(group: tuple[Symbol, ...], options: Iterable[tuple[int, ...]]) -> None:
        nonlocal best
        for option in options:
            if best == 0:
                return
            trial = {**values, **dict(zip(group, option, strict=True))}
            score = equations.broken(trial, checks)
            if score < best:
                best = score
                values.update(trial)

    for _ in range(2):
        for symbol in symbols:
            attempt((symbol,), ((n,) for n in candidates[symbol]))
        # Height, width and depth are mostly equal; a size just above a usual one (VALID padding) is not rare.
        for count in (2, 3):
            for group in itertools.combinations(movable[:6], count):
                sides = sorted(range(1, 1025), key=lambda n: abs(n - values[group[0]]))
                limit = min(equations.upper.get(symbol, 1024) for symbol in group)
                attempt(group, ((n,) * count for n in sides if n <= limit))
        if best == 0 or len(symbols) > 6:
            return
        for pair in itertools.combinations(symbols, 2):
            attempt(pair, itertools.product(candidates[pair[0]][:40], candidates[pair[1]][:40]))
