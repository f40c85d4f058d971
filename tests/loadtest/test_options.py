"""Options that no load can be made of are refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.__main__ import main

RUN, OVERLOAD, PLAN = ["run", "steady"], ["overload"], ["plan"]
NUMBERS = {
    "a number above 0": (
        ["0", "-5", "inf", "nan", "x", ""],
        [
            *((RUN, option) for option in ("--rate", "--seconds", "--target-ms")),
            *((OVERLOAD, option) for option in ("--seconds", "--target-ms", "--capacity", "--levels")),
            *((PLAN, option) for option in ("--seconds", "--target-ms")),
        ],
    ),
    "a number from 0 on": (["-1", "inf", "nan", "x"], [(RUN, "--warmup")]),
    "a whole number from 1 on": (
        ["0", "-1", "1.5", "x"],
        [(RUN, "--repeat"), (OVERLOAD, "--repeats"), (PLAN, "--points")],
    ),
    "a whole number from 0 on": (["-1", "x"], [(RUN, "--seed")]),
}


@pytest.mark.parametrize(
    ("command", "option", "wrong", "wanted"),
    [
        (command, option, wrong, wanted)
        for wanted, (wrongs, options) in NUMBERS.items()
        for command, option in options
        for wrong in wrongs
    ],
)
def test_a_number_that_makes_no_load_is_refused_by_its_name(
    command: list[str],
    option: str,
    wrong: str,
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([*command, f"{option}={wrong}"])
    assert f"argument {option}: {wrong!r} is not {wanted}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_one_of_several_levels_that_makes_no_load_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["overload", "--levels=1,0"])
    assert "argument --levels: '0' is not a number above 0" in capsys.readouterr().err
