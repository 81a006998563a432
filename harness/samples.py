"""The samples of one trial: what a unit used over time, one row a sample, in `trials/ID/samples.parquet`.

Columns carry their unit in their name; every one is documented in docs/results.md. A value that this kernel or cgroup
version does not keep, or that was not read for this row, is null. pyarrow and pandas are imported only when samples are
written or read: a trial without samples does not pay for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

FORMAT = 1
FILE_NAME = "samples.parquet"
# Column → Arrow type. Counters are those of the unit's cgroup since it was made; `incarnation` counts how often it was.
COLUMNS: Mapping[str, str] = {
    "time_s": "float64",
    "part": "string",
    "step": "string",
    "incarnation": "int32",
    "memory_usage_bytes": "int64",
    "memory_anon_bytes": "int64",
    "memory_shmem_bytes": "int64",
    "memory_locked_file_bytes": "int64",
    "memory_kernel_bytes": "int64",
    "memory_file_bytes": "int64",
    "tasks": "int32",
    "cpu_usage_usec": "int64",
    "cpu_periods": "int64",
    "cpu_throttled_periods": "int64",
    "cpu_throttled_usec": "int64",
    "cpu_pressure_usec": "int64",
    "memory_pressure_usec": "int64",
    "oom_kills": "int32",
    "forks_rejected": "int32",
    "fd_highest": "int32",
    "host_busy_usec": "int64",
    "own_busy_usec": "int64",
}
Row = dict[str, float | int | str | None]


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as Parquet. Raises OSError when the disk does not take them."""
    import pyarrow
    import pyarrow.parquet

    fields = [(name, pyarrow.type_for_alias(kind)) for name, kind in COLUMNS.items()]
    schema = pyarrow.schema(fields, metadata={"harness_format": str(FORMAT)})
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), path, compression="zstd")


def read(folder: Path) -> pandas.DataFrame | None:
    """The samples of the trial in `folder` as a DataFrame with the columns of `COLUMNS`; None where there are none.

    Whole numbers are `Int64` and `Int32`, so that what was not measured is null and not 0. Raises ValueError when the
    file is damaged or of another format.
    """
    import pandas
    import pyarrow
    import pyarrow.parquet

    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    written = (table.schema.metadata or {}).get(b"harness_format", b"").decode()
    if written != str(FORMAT):
        raise ValueError(f"{path} has format {written or 'unknown'}; this version reads {FORMAT}")
    whole = {pyarrow.int64(): pandas.Int64Dtype(), pyarrow.int32(): pandas.Int32Dtype()}
    frame: pandas.DataFrame = table.to_pandas(types_mapper=whole.get)
    return frame


def of_rows(rows: Sequence[Row]) -> pandas.DataFrame:
    """The DataFrame that `read` gives for rows that `write` wrote."""
    import pandas

    kinds = {"int64": "Int64", "int32": "Int32", "float64": "float64", "string": "object"}
    return pandas.DataFrame({name: [row.get(name) for row in rows] for name in COLUMNS}).astype(
        {name: kinds[kind] for name, kind in COLUMNS.items()}
    )
