"""Run the suite in several processes: ``python tests/parts.py [PARTS] [ARGUMENTS OF PYTEST]``.

Each process runs its share of the files. The first one prints directly; the others' output is printed when they end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAILED, NO_TESTS = 1, 5  # exit codes of pytest
QUICK = ("-p", "no:logging")  # its handlers take a third of the time of a short test


#: Processor seconds of slow files, so that all parts take about as long; printed by
#: ``pytest --processor-seconds 10 --seconds-table``.
SECONDS: dict[str, float] = {
    "tests/adapt/test_adapt_learners.py": 6.6,
    "tests/adapt/test_adapt_river.py": 2.5,
    "tests/adapt/test_network_filter.py": 4.8,
    "tests/bayes/test_bayes_layout.py": 4.0,
    "tests/bayes/test_bayes_threads.py": 7.0,
    "tests/bayes/test_moments_compared.py": 5.8,
    "tests/bayes/test_moments_networks.py": 15.0,
    "tests/bayes/test_moments_positions.py": 3.4,
    "tests/benchmarks/test_any_network.py": 4.0,
    "tests/benchmarks/test_any_network_graphs.py": 2.0,
    "tests/benchmarks/test_benchmarks_model_file.py": 5.1,
    "tests/benchmarks/test_benchmarks_train_step.py": 4.4,
    "tests/benchmarks/test_one_pass.py": 2.3,
    "tests/cli/test_cli_bad_input.py": 2.2,
    "tests/cli/test_cli_compress.py": 6.6,
    "tests/cli/test_cli_deploy.py": 14.0,
    "tests/cli/test_cli_encode.py": 2.0,
    "tests/cli/test_cli_fit.py": 3.0,
    "tests/cli/test_cli_help.py": 2.6,
    "tests/cli/test_cli_json.py": 5.6,
    "tests/cli/test_cli_large_numbers.py": 3.7,
    "tests/cli/test_cli_one_pass.py": 3.0,
    "tests/cli/test_cli_policy.py": 9.0,
    "tests/cli/test_cli_predict.py": 6.1,
    "tests/cli/test_cli_prior.py": 4.0,
    "tests/cli/test_cli_solve.py": 9.9,
    "tests/cli/test_cli_solve_units.py": 4.5,
    "tests/cli/test_cli_stream.py": 3.7,
    "tests/cli/test_cli_stream_files.py": 2.2,
    "tests/cli/test_cli_tables.py": 2.6,
    "tests/cli/test_cli_terminal.py": 6.4,
    "tests/cli/test_cli_user_networks.py": 4.3,
    "tests/cli/test_cli_verify_store.py": 2.3,
    "tests/codec/test_codec_coder.py": 3.1,
    "tests/codec/test_codec_field.py": 2.6,
    "tests/codec/test_codec_hostile.py": 4.0,
    "tests/codec/test_codec_limits.py": 3.8,
    "tests/codec/test_codec_orders.py": 5.2,
    "tests/codec/test_codec_reference.py": 4.0,
    "tests/codec/test_codec_settings.py": 2.2,
    "tests/coding/test_coding_adaptive.py": 5.4,
    "tests/compression/test_compress.py": 9.4,
    "tests/compression/test_compress_distil.py": 5.2,
    "tests/compression/test_compress_factorize.py": 4.7,
    "tests/compression/test_compress_finetune.py": 2.2,
    "tests/compression/test_compress_input_units.py": 3.9,
    "tests/compression/test_compress_judge.py": 2.0,
    "tests/compression/test_compress_memory.py": 2.6,
    "tests/compression/test_compress_random_graphs.py": 3.7,
    "tests/compression/test_compress_special_cases.py": 5.9,
    "tests/compression/test_compress_squares.py": 5.0,
    "tests/data/test_data_bombs.py": 2.5,
    "tests/data/test_data_unseen_categories.py": 2.5,
    "tests/deploy/test_deploy_arguments.py": 2.5,
    "tests/deploy/test_deploy_draws.py": 2.6,
    "tests/deploy/test_deploy_native.py": 2.9,
    "tests/deploy/test_deploy_onnx.py": 11.8,
    "tests/fields/test_fields_numcodecs.py": 2.5,
    "tests/fields/test_fields_resume.py": 4.0,
    "tests/fields/test_fields_xarray.py": 5.1,
    "tests/kernels/test_kernels_conv.py": 6.0,
    "tests/kernels/test_kernels_layout.py": 2.4,
    "tests/kernels/test_kernels_linear.py": 3.9,
    "tests/kernels/test_kernels_noise.py": 2.6,
    "tests/kernels/test_native_build.py": 2.2,
    "tests/methods/test_exactness.py": 7.1,
    "tests/methods/test_methods.py": 8.4,
    "tests/methods/test_methods_compression.py": 8.0,
    "tests/methods/test_methods_dynamic.py": 8.9,
    "tests/methods/test_methods_invariants.py": 3.1,
    "tests/methods/test_methods_sparse_loops.py": 2.7,
    "tests/methods/test_methods_tickets.py": 2.0,
    "tests/model/test_training_saved.py": 9.4,
    "tests/model/test_training_saved_exact.py": 8.5,
    "tests/model/test_training_trust.py": 2.3,
    "tests/report/test_report_damage.py": 6.0,
    "tests/report/test_report_mutations.py": 4.2,
    "tests/report/test_report_page.py": 4.5,
    "tests/solve/test_solve_estimators.py": 10.1,
    "tests/solve/test_solve_guard.py": 18.4,
    "tests/solve/test_solve_operators.py": 2.2,
    "tests/solve/test_solve_size.py": 5.5,
    "tests/solve/test_solve_training.py": 2.9,
    "tests/sparse/test_sparse_codes.py": 2.6,
    "tests/sparse/test_sparse_groups.py": 3.1,
    "tests/sparse/test_sparse_ops.py": 4.3,
    "tests/sparse/test_sparse_pattern.py": 3.3,
    "tests/sparse/test_sparse_pattern_training.py": 3.9,
    "tests/test_docs.py": 7.2,
    "tests/test_examples.py": 5.7,
    "tests/test_house.py": 2.0,
    "tests/test_interrupts.py": 2.7,
    "tests/training/test_several_targets.py": 3.0,
    "tests/training/test_training_fit.py": 14.0,
    "tests/training/test_training_kill.py": 2.9,
    "tests/training/test_training_layers.py": 2.1,
    "tests/training/test_training_prior.py": 2.3,
    "tests/training/test_training_processes.py": 4.2,
}
USUAL = 0.6  # processor seconds assumed for any other file

#: Files of one process, which share what takes seconds: the imports and tables of torch's compiler and exporter, and
#: the small networks that are trained for tests of compression.
TOGETHER: tuple[tuple[str, ...], ...] = (
    (
        "tests/bayes/test_bayes_layers_copies.py",
        "tests/bayes/test_bayes_layout.py",
        "tests/bayes/test_bayes_threads.py",
        "tests/bayes/test_moments_dependence.py",
        "tests/bayes/test_moments_networks.py",
        "tests/benchmarks/test_one_pass.py",
        "tests/cli/test_cli_convert.py",
        "tests/cli/test_cli_deploy.py",
        "tests/cli/test_cli_json.py",
        "tests/deploy/test_deploy_arguments.py",
        "tests/deploy/test_deploy_denormals.py",
        "tests/deploy/test_deploy_files.py",
        "tests/deploy/test_deploy_float_types.py",
        "tests/deploy/test_deploy_int8.py",
        "tests/deploy/test_deploy_onnx.py",
        "tests/deploy/test_deploy_positions.py",
        "tests/deploy/test_deploy_remote.py",
        "tests/deploy/test_deploy_use.py",
        "tests/model/test_training_checkpoint_weights.py",
        "tests/sparse/test_sparse_ops.py",
        "tests/sparse/test_sparse_pattern.py",
        "tests/test_docs.py",
    ),
    (
        "tests/cli/test_cli_compress.py",
        "tests/compression/test_compress.py",
        "tests/compression/test_compress_factorize.py",
        "tests/compression/test_compress_finetune.py",
        "tests/methods/test_methods_compression.py",
    ),
)
_GROUP = {name: number for number, group in enumerate(TOGETHER) for name in group}


def share(files: Sequence[str], number: int, parts: int) -> set[str]:
    """The files of part ``number``, from 1: the slowest first, each assigned to the part with the least work.

    Files of one group of :data:`TOGETHER` count as one.
    """
    groups: dict[str | int, list[str]] = {}
    for name in sorted(set(files)):  # all processes add the seconds in the same order
        groups.setdefault(_GROUP.get(name, name), []).append(name)
    seconds = {key: sum(SECONDS.get(name, USUAL) for name in group) for key, group in groups.items()}
    loads, shares = [0.0] * parts, [set[str]() for _ in range(parts)]
    for key in sorted(groups, key=lambda key: (-seconds[key], groups[key][0])):
        least = loads.index(min(loads))
        loads[least] += seconds[key]
        shares[least].update(groups[key])
    return shares[number - 1]


def run(parts: int, arguments: Sequence[str]) -> int:
    """Run all parts and return the highest exit code."""
    # One thread in each process from its first import; tests of threads set their own number.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    # Tests start some hundred processes: each would compile the package again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="szilard-tests-") as folder:
        started = []
        for number in range(1, parts + 1):
            command = [sys.executable, "-m", "pytest", "--part", f"{number}/{parts}", *QUICK, *arguments]
            if number == 1:
                started.append((subprocess.Popen(command, cwd=ROOT, env=environment), None))
                continue
            log = Path(folder) / f"{number}.txt"
            with log.open("w") as output:
                process = subprocess.Popen(
                    command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
                )
            started.append((process, log))
        try:
            for process, log in started:
                process.wait()
                if log is not None:
                    print(log.read_text(errors="replace"), end="", flush=True)
        except KeyboardInterrupt:
            for process, _ in started:
                process.terminate()
                process.wait()
            return FAILED
        codes = [FAILED if process.returncode < 0 else process.returncode for process, _ in started]
        return max((code for code in codes if code != NO_TESTS), default=NO_TESTS)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    count = int(arguments.pop(0)) if arguments and arguments[0].isdigit() else 2
    sys.exit(run(count, arguments))
