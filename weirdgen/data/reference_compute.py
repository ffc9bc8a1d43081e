"""Computed columns of the references: sums, units, times, picks from a list.

In: a record with the columns that a function's docstring names, and a seeded source of chance. Out: the new columns, as
text. Each is plain arithmetic; how the numbers are worded is up to the templates.
"""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Callable

Record = dict[str, str]
Compute = Callable[[Record, random.Random], Record]


def arithmetic(record: Record, _: random.Random) -> Record:
    """Of `a` and `b`: their `sum`, `product`, and the `difference` of the larger and the smaller, with both named."""
    a, b = int(record["a"]), int(record["b"])
    return _texts(sum=a + b, product=a * b, larger=max(a, b), smaller=min(a, b), difference=abs(a - b))


def percentage(record: Record, _: random.Random) -> Record:
    """`share` percent of `whole`, as `part`: a whole number, or with one or two decimals."""
    hundredths = int(record["share"]) * int(record["whole"])
    return {"part": _trim(hundredths / 100, 2)}


def price(record: Record, _: random.Random) -> Record:
    """`count` things at `pence` each: the price of one as `each`, of all as `total`, and the `change` from `paid`."""
    each, count = int(record["pence"]), int(record["count"])
    paid = -(-(each * count) // 1000) * 10
    return {
        "each": _money(each),
        "total": _money(each * count),
        "paid": str(paid),
        "change": _money(paid * 100 - each * count),
    }


def clock(record: Record, _: random.Random) -> Record:
    """`minute` of the day as `time` (9:05), `time_iso` (09:05) and `time_12` (9:05 am); with `lasts` also `end`, `end_12`."""
    start = int(record["minute"])
    columns = {"time": _time(start), "time_iso": f"{_time(start):0>5}", "time_12": _time_12(start)}
    if "lasts" in record:
        end = (start + int(record["lasts"])) % 1440
        columns |= {"end": _time(end), "end_12": _time_12(end)}
    return columns


def length(record: Record, _: random.Random) -> Record:
    """`km` in `miles`, to a tenth."""
    return {"miles": _trim(int(record["km"]) / 1.609344, 1)}


def weight(record: Record, _: random.Random) -> Record:
    """`kg` in `pounds`, to the pound."""
    return {"pounds": str(round(int(record["kg"]) / 0.45359237))}


def season(record: Record, rng: random.Random) -> Record:
    """A likely `celsius` for the `date`, in a mild climate of the northern half."""
    day = datetime.date.fromisoformat(record["date"]).timetuple().tm_yday
    return {"celsius": str(round(13 - 9 * math.cos(2 * math.pi * (day - 20) / 365)) + rng.randint(-3, 4))}


def temperature(record: Record, _: random.Random) -> Record:
    """`celsius` in `fahrenheit`, to the degree."""
    return {"fahrenheit": str(round(int(record["celsius"]) * 9 / 5 + 32))}


def parity(record: Record, _: random.Random) -> Record:
    """Whether `n` is odd or even."""
    return {"parity": "odd" if int(record["n"]) % 2 else "even"}


def sequence(record: Record, _: random.Random) -> Record:
    """Four `terms` from `a` in steps of `b`, and the `next` one."""
    a, b = int(record["a"]), int(record["b"])
    return {"terms": ", ".join(str(a + b * i) for i in range(4)), "next": str(a + b * 4)}


def pick(record: Record, rng: random.Random) -> Record:
    """`count` (a word from two to five) of the `;`-separated items of the column that ends in `items`, in chance order:
    as `first`, `picked_comma`, `picked_dashes`, `picked_stars`, `picked_numbers`."""
    column = next(name for name in record if name.endswith("items"))
    count = ["two", "three", "four", "five"].index(record["count"]) + 2
    items = rng.sample(record[column].split(";"), count)
    return {
        "picked_comma": ", ".join(items),
        "picked_dashes": "\n".join(f"- {item}" for item in items),
        "picked_stars": "\n".join(f"* {item}" for item in items),
        "picked_numbers": "\n".join(f"{i}. {item}" for i, item in enumerate(items, start=1)),
    }


def sort(record: Record, _: random.Random) -> Record:
    """The columns `w1`, `w2`, … of one-word texts: `mixed` as they come, `in_order` by the alphabet."""
    items = [value for name, value in record.items() if name[0] == "w" and name[1:].isdigit()]
    return {"mixed": ", ".join(items), "in_order": ", ".join(sorted(items))}


def later(record: Record, _: random.Random) -> Record:
    """`date` and `days` after it: `later` (2025-03-04), `later_long` (4 March 2025), `later_weekday`."""
    day = datetime.date.fromisoformat(record["date"]) + datetime.timedelta(days=int(record["days"]))
    return {
        "later": day.isoformat(),
        "later_long": f"{day.day} {day:%B} {day.year}",
        "later_weekday": f"{day:%A}",
    }


COMPUTED: dict[str, Compute] = {
    function.__name__: function
    for function in (
        arithmetic,
        percentage,
        price,
        clock,
        length,
        weight,
        season,
        temperature,
        parity,
        sequence,
        pick,
        sort,
        later,
    )
}


def _texts(**numbers: int) -> Record:
    return {name: str(number) for name, number in numbers.items()}


def _trim(number: float, decimals: int) -> str:
    return f"{number:.{decimals}f}".rstrip("0").rstrip(".")


def _money(pence: int) -> str:
    return f"{pence // 100}.{pence % 100:02}"


def _time(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02}"


def _time_12(minute: int) -> str:
    half = "am" if minute < 720 else "pm"
    return f"{(minute // 60 - 1) % 12 + 1}:{minute % 60:02} {half}"
