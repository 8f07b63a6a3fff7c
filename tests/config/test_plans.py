"""Plans in files of their own: how they are found, what wins, and whose problem a problem is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.config.export import redacted, whole
from proxy.config.loading import load, parse
from proxy.config.plans import PRESETS, plans_of, preset_text, stamps_of_plans
from proxy.config.schema import Config
from proxy.errors import ConfigError
from proxy.judgment import Action
from tests.config.documents import ROLLOUT, problems

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.config.rollout import Rollout

OWN = """
[judge]
action = "pause"
step = 3
[[phases]]
name = "first"
percentage = 5
[[guards]]
metric = "error_rate"
above = 0.2
"""


def planned(more: str) -> Rollout:
    return parse(ROLLOUT + more, {}).rollouts[0]


def loaded(folder: Path, plan: str, more: str = 'plan = "own.toml"\n') -> Config:
    (folder / "own.toml").write_text(plan, encoding="utf-8")
    (folder / "proxy.toml").write_text(ROLLOUT + more, encoding="utf-8")
    return load(folder / "proxy.toml", {})


def refused(folder: Path, plan: str, more: str = 'plan = "own.toml"\n') -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        loaded(folder, plan, more)
    return [
        (at.replace(f"{folder}/", ""), message.replace(f"{folder}/", ""))
        for at, message in raised.value.problems
    ]


# ... presets


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_goes_by_three_names(name: str) -> None:
    rollouts = [planned(f'plan = "{said}"\n') for said in (name, f"plans/{name}", f"{name}.toml")]
    assert rollouts[0] == rollouts[1] == rollouts[2]
    assert rollouts[0].plan == name
    assert rollouts[0].phases
    assert plans_of(parse(ROLLOUT + f'plan = "{name}"\n', {})) == ()


def test_the_phases_of_the_presets_are_as_they_are_documented() -> None:
    steps = {
        name: [(p.name, p.percentage, p.min_duration_s / 3600) for p in planned(f'plan = "{name}"\n').phases]
        for name in PRESETS
    }
    assert steps == {
        "gradual": [("CANARY", 1, 1 / 6), ("TESTING", 10, 0.5), ("VALIDATION", 50, 1), ("FULL", 100, 0)],
        "api-migration": [
            ("5%", 5, 24),
            ("10%", 10, 24),
            ("25%", 25, 48),
            ("50%", 50, 48),
            ("100%", 100, 24),
        ],
        "staged": [("10%", 10, 48), ("50%", 50, 72), ("100%", 100, 0)],
    }


def test_a_preset_says_what_it_is_before_anything_else() -> None:
    for name in PRESETS:
        assert preset_text(name).startswith(f'# plan = "{name}": ')


def test_a_preset_needs_nothing_of_the_backends() -> None:
    """Its guard on health can never fire here, which elsewhere is an error."""
    assert any(guard.metric == "health" for guard in planned('plan = "gradual"\n').guards)


# ... what wins


def test_what_the_table_says_itself_wins_key_by_key(tmp_path: Path) -> None:
    own = (
        'plan = "own.toml"\n[rollouts.judge]\nstep = 7\n[[rollouts.guards]]\nmetric = "health"\nbelow = 0.1\n'
    )
    rollout = loaded(tmp_path, OWN, own).rollouts[0]
    assert (rollout.judge.action, rollout.judge.step) == (Action.PAUSE, 7.0)
    assert [phase.name for phase in rollout.phases] == ["first"]
    assert [guard.name for guard in rollout.guards] == ["health below 0.1"]
    assert rollout.plan == str(tmp_path / "own.toml")


def test_steps_take_the_place_of_a_plans_phases_and_the_other_way_round(tmp_path: Path) -> None:
    rollout = planned('plan = "api-migration"\nsteps = { by = 25, every = "1h" }\n')
    assert [phase.name for phase in rollout.phases] == ["25%", "50%", "75%", "100%"]
    named = 'plan = "own.toml"\nphases = [{ name = "all", percentage = 100 }]\n'
    config = loaded(tmp_path, 'steps = { by = 25, every = "1h" }\n', named)
    assert ([phase.name for phase in config.rollouts[0].phases], config.rollouts[0].steps) == (["all"], None)


def test_the_environment_wins_over_a_plan() -> None:
    environ = {"DUALPATH__ROLLOUTS__0__PLAN": "gradual", "DUALPATH__ROLLOUTS__0__JUDGE__TICK": "2s"}
    rollout = parse(ROLLOUT, environ).rollouts[0]
    assert (rollout.phases[0].name, rollout.judge.tick_s) == ("CANARY", 2.0)


def test_what_was_planned_is_written_out_in_full_and_reads_back_the_same(tmp_path: Path) -> None:
    config = loaded(tmp_path, OWN)
    assert Config.read(redacted(config)) == Config.read(whole(config)) == config
    assert redacted(config)["rollouts"][0]["phases"][0]["name"] == "first"


def test_a_changed_plan_shows(tmp_path: Path) -> None:
    config = loaded(tmp_path, OWN)
    assert plans_of(config) == (str(tmp_path / "own.toml"),)
    before = stamps_of_plans(config)
    assert before == stamps_of_plans(config)
    (tmp_path / "own.toml").write_text(OWN + "#", encoding="utf-8")
    assert stamps_of_plans(config) != before
    (tmp_path / "own.toml").unlink()
    assert stamps_of_plans(config) == (None,)


# ... problems


def test_problems_of_a_plan_are_under_its_name(tmp_path: Path) -> None:
    phase = '[[phases]]\nname = "a"\npercentage = {}\n'
    plan = "nam = 1\n[judge]\ntik = 1\n" + phase.format(5) + phase.format(2)
    assert refused(tmp_path, plan) == [
        ("own.toml: nam", "unknown key of a plan"),
        ("own.toml: judge.tik", 'unknown key; did you mean "tick"?'),
        ("own.toml: phases.1.percentage", "must be above the 5 of the phase before, not 2"),
        ("own.toml: phases.1.name", '"a" is also the name of rollouts.0.phases.0'),
    ]


def test_problems_of_the_table_itself_stay_its_own(tmp_path: Path) -> None:
    own = 'plan = "own.toml"\njudge = { step = -1 }\nphases = [{ name = "a" }]\nguard = 5\n'
    assert refused(tmp_path, OWN + "[[frees]]\n", own) == [
        ("own.toml: frees", 'unknown key; did you mean "freeze"?'),
        ("rollouts.0.judge.step", "must be from 0 to 100, not -1"),
        ("rollouts.0.phases.0.percentage", "is required"),
        ("rollouts.0.guard", 'unknown key; did you mean "guards"?'),
    ]


@pytest.mark.parametrize("table", ["judge = 5", "phases = 5", 'judge = "x"'])
def test_a_plan_that_is_no_plan(tmp_path: Path, table: str) -> None:
    [(at, message)] = refused(tmp_path, table + "\n")
    assert at == f"own.toml: {table.split()[0]}"
    assert message.startswith("must be a ")


def test_a_plan_that_cannot_be_read(tmp_path: Path) -> None:
    missing = refused(tmp_path, "", 'plan = "gradul"\n')
    assert missing == [
        ("rollouts.0.plan", 'gradul: cannot be read: No such file or directory; did you mean "gradual"?')
    ]
    [(_, elsewhere)] = refused(tmp_path, "", 'plan = "x/y.toml"\n')
    assert elsewhere.endswith("(presets: api-migration, gradual, staged)")
    [(_, syntax)] = refused(tmp_path, "a = = 1\n")
    assert syntax.startswith("own.toml: is not usable: ")
    [(_, nul)] = refused(tmp_path, "", 'plan = "a\\u0000b"\n')
    assert nul.startswith("must be a preset")
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        loaded(tmp_path, "#" * ((1 << 20) + 1))


def test_without_a_folder_only_presets_are_read() -> None:
    message = "must be one of api-migration, gradual, staged, not 'own.toml': no file is read here"
    assert problems(ROLLOUT + 'plan = "own.toml"\n') == [("rollouts.0.plan", message)]


@pytest.mark.parametrize("more", ["plan = 5\n", 'plan = " "\n'])
def test_a_plan_has_a_name(more: str) -> None:
    assert [at for at, _ in problems(ROLLOUT + more)][-1] == "rollouts.0.plan"


def test_a_plan_in_a_document_without_tables_is_looked_for_nowhere() -> None:
    assert problems("rollouts = [5]\n")[-1][0] == "rollouts.0"
