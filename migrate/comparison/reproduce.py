"""The one command that makes a comparison again."""

from __future__ import annotations

import os
import shlex

from migrate.options import CompareOptions, Tolerance

INPUTS = "inputs.npz"


def spell_command(baseline: str, candidate: str, options: CompareOptions) -> str:
    """The command line; where inputs were saved it names them, else the seed that makes them up again."""
    flags = [f"--baseline={baseline}", f"--candidate={candidate}", f"--level={options.level}"]
    saved = os.path.join(options.save_to, INPUTS) if options.save_to and options.level != "interface" else ""
    inputs = saved or options.inputs
    inputs = os.path.abspath(inputs) if saved or os.path.exists(inputs) else inputs
    flags.append(f"--inputs={inputs}" if inputs else f"--seed={options.seed}")
    default = CompareOptions()
    if options.signatures:
        flags.append(f"--signatures={','.join(options.signatures)}")
    if options.tolerance != default.tolerance:
        flags += [f"--rtol={options.tolerance.relative:g}", f"--atol={options.tolerance.absolute:g}"]
    flags += [f"--tolerance={key}={spell_tolerance(value)}" for key, value in options.tolerances.items()]
    if not options.tolerance_files:
        flags.append("--notolerance_files")
    if options.trust_candidate_tolerances:
        flags.append("--trust_candidate_tolerances")
    if options.same_argmax:
        flags.append("--require_same_argmax")
    if options.strict:
        flags.append("--strict")
    if not inputs and options.batch_sizes != default.batch_sizes:
        flags.append(f"--batch_sizes={','.join(map(str, options.batch_sizes))}")
    if not inputs and options.nonfinite:
        flags.append("--nonfinite")
    for name in ("error_rate", "draws", "steps"):
        if getattr(options, name) != getattr(default, name):
            flags.append(f"--{name}={getattr(options, name):g}")
    flags += [f"--{name}" for name in ("bisect", "benchmark", "coverage") if getattr(options, name)]
    flags += [f"--op_library={path}" for path in options.op_library]
    if options.allow_unsafe_ops:
        flags.append(f"--allow_unsafe_ops={','.join(options.allow_unsafe_ops)}")
    if options.limits.timeout is not None:
        flags.append(f"--timeout={options.limits.timeout:g}")
    return shlex.join(["migrate-compare", *flags])


def spell_tolerance(tolerance: Tolerance) -> str:
    return f"{tolerance.relative:g},{tolerance.absolute:g}" + (f",{tolerance.ulp}" if tolerance.ulp else "")
