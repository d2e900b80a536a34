"""Values that a customer states in transforms and rules, as values of a column's type."""

import datetime

import polars as pl

from agora_data_processor.faults import TableError
from agora_data_processor.job import Scalar


def of_column(value: Scalar, dtype: pl.DataType, column: str, place: str) -> object:
    """The value in the column's type.

    Raises:
        TableError: it has no meaning there; the message names the column's type.
    """
    fitted = _fitted(value, dtype)
    if fitted is None:
        raise TableError(
            "value_type",
            f"{value!r} is no value of the column {column!r}, which holds {describe(dtype)}.",
            place,
        )
    return fitted


def describe(dtype: pl.DataType) -> str:
    """A type in a customer's words."""
    if isinstance(dtype, pl.Datetime):
        return "datetimes (write 2024-01-31T10:00:00)"
    return {
        pl.String(): "text",
        pl.Int64(): "integers",
        pl.Float64(): "decimals",
        pl.Boolean(): "booleans",
        pl.Date(): "dates (write 2024-01-31)",
        pl.Time(): "times (write 10:00:00)",
    }.get(dtype, str(dtype))


def _fitted(value: Scalar, dtype: pl.DataType) -> object:
    if dtype == pl.String:
        return value if isinstance(value, str) else None if isinstance(value, bool) else str(value)
    if dtype == pl.Boolean:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if dtype.is_integer():
        return value if isinstance(value, int) else int(value) if _whole(value) else None
    if dtype.is_float():
        return float(value) if isinstance(value, int | float) else None
    return _moment(value, dtype) if isinstance(value, str) else None


def _whole(value: Scalar) -> bool:
    return isinstance(value, float) and value.is_integer()


def _moment(value: str, dtype: pl.DataType) -> object:
    try:
        if dtype == pl.Date:
            return datetime.date.fromisoformat(value)
        if dtype == pl.Time:
            return datetime.time.fromisoformat(value)
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        return None
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return aware.astimezone(datetime.UTC)
    return moment.replace(tzinfo=None)
