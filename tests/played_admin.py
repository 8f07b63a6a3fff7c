"""An admin API that plays a rollout's course: each look at the status shows the next of its scenes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from proxy.cli import main
from tests.fake_admin import FakeAdmin, FakeOutside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.model import Verb

Document = dict[str, Any]

PHASES = [{"name": "canary", "percentage": 1.0, "min_duration": "10m"}, {"name": "half", "percentage": 30.0}]


class PlayedAdmin(FakeAdmin):
    """Changes to the rollouts, one after the other once there was a command; the last scene stays. A scene
    that is an exception is raised."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.configuration = {
            "rollouts": [{"name": one["name"], "phases": PHASES, "judge": {}} for one in self.rollouts]
        }
        self.scenes: list[Mapping[str, Document] | Exception] = []

    async def status(self) -> Document:
        if self.commands and self.scenes:
            scene = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
            if isinstance(scene, Exception):
                raise scene
            self.change(scene)
        return await super().status()

    def change(self, scene: Mapping[str, Document]) -> None:
        """The rollouts are like that from now on."""
        for one in self.rollouts:
            one.update(scene.get(one["name"], {}))

    async def command(self, rollout: str, verb: Verb, body: Mapping[str, object]) -> Document:
        found = await super().command(rollout, verb, body)
        if verb == "start":
            self.change({rollout: {"state": "running", "phase": "canary", "percentage": 1.0, "revision": 5}})
        return {
            **found,
            **next(one for one in self.rollouts if one["name"] == rollout),
            "stored": self.stored,
        }


def played(*names: str) -> tuple[FakeOutside, PlayedAdmin]:
    """What is outside, and the admin in it."""
    outside, admin = FakeOutside(), PlayedAdmin(*names)
    outside.admin = admin
    return outside, admin


def run(outside: FakeOutside, *arguments: str) -> int:
    """The command line, with looks at the status that follow one another at once."""
    return main(arguments, outside=replace(outside.build(), poll_s=0.001))
