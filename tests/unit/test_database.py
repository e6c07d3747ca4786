from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from partition_core.cli.doit_database import Database


class Json:
    def encode(self, values: dict[str, Any]) -> str:
        return json.dumps(values)

    def decode(self, text: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(text)
        return found


@pytest.fixture
def warnings() -> list[str]:
    return []


def opened(path: Path, warnings: list[str]) -> Database:
    return Database(str(path), Json(), warnings.append)


def test_a_value_is_in_the_file_as_soon_as_it_is_set(tmp_path: Path, warnings: list[str]) -> None:
    first = opened(tmp_path / "db", warnings)
    first.set("build:a", "ignore:", "1")
    child = os.fork()
    if child == 0:
        opened(tmp_path / "db", warnings).set("build:b", "ignore:", "1")
        os._exit(9)  # without closing anything
    os.waitpid(child, 0)
    second = opened(tmp_path / "db", warnings)
    assert second.get("build:a", "ignore:") == second.get("build:b", "ignore:") == "1"
    second.remove("build:a")
    assert not second.in_("build:a")
    third = opened(tmp_path / "db", warnings)
    assert third.in_("build:b") and not third.in_("build:a")
    third.remove_all()
    fourth = opened(tmp_path / "db", warnings)
    assert not fourth.in_("build:b")
    assert warnings == []
    for database in (first, second, third, fourth):
        database.dump()


def test_setting_what_is_there_already_writes_nothing(tmp_path: Path, warnings: list[str]) -> None:
    database = opened(tmp_path / "db", warnings)
    database.set("build", "values", {"a": 1})
    database.dump()
    database = opened(tmp_path / "db", warnings)
    before = (tmp_path / "db").stat()
    database.set("build", "values", {"a": 1})
    after = (tmp_path / "db").stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    database.dump()


def test_a_file_that_another_one_holds_costs_one_warning(
    tmp_path: Path, warnings: list[str]
) -> None:
    database = opened(tmp_path / "db", warnings)
    holder = sqlite3.connect(tmp_path / "db", isolation_level=None)
    holder.execute("begin immediate")
    for number in range(5):
        database.set("build", "value", number)
    assert database.get("build", "value") == 4
    assert warnings == [f"{tmp_path / 'db'}: database is locked; `doit ignore` is not remembered"]
    holder.close()
    database.dump()


@pytest.mark.parametrize("content", [b"garbage" * 999, None], ids=["garbage", "another table"])
def test_a_file_that_is_no_database_of_ours_is_put_aside(
    tmp_path: Path, warnings: list[str], content: bytes | None
) -> None:
    path = tmp_path / "db"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("create table doit (something text)")
        other.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    database = opened(path, warnings)
    database.set("build", "value", 1)
    database.dump()
    assert len(warnings) == 1 and "is damaged" in warnings[0]
    assert (tmp_path / "db.damaged").read_bytes() == content
    again = opened(path, warnings)
    assert again.get("build", "value") == 1
    again.dump()


def test_a_file_that_cannot_be_opened_costs_one_warning(
    tmp_path: Path, warnings: list[str]
) -> None:
    database = opened(tmp_path, warnings)
    database.set("build", "value", 1)
    assert database.get("build", "value") == 1
    assert warnings == [
        f"{tmp_path}: unable to open database file; `doit ignore` is not remembered"
    ]
    database.dump()
