"""The state machine of a rollout: which verb leads from which state to which.

Owns the table and nothing else: not weights, not phases, not who asked. People and the judge use the same
verbs, so one table rules both: a guard's rollback is `rollback`, its `previous` and `step_down` are a
`set` to less, its `abort` is `abort`, a phase that passed is `promote`, a retry is `start`.

A rollout begins DISABLED, or RUNNING when the configuration gives it a share from the start.

- RUNNING is where the judge moves things by itself; PAUSED keeps the weight and lets only guards act.
  `set` on a paused rollout changes the weight and leaves it paused: who paused it has not said "go on"
  yet.
- ROLLED_BACK and ABORTED are where somebody has to look. Neither can be resumed or promoted, since both would
  continue what has just failed; `start` and `set` begin again on purpose.
- COMPLETED is not the end: guards still watch, `rollback` still works, and `start` begins the next version.
- `rollback`, `step_down` and `abort` are allowed everywhere, so that a panic button never answers "conflict".
- `step_down` goes one phase back, and from the first one to nothing: then it is a rollback.
- An emergency stop is a rollback of everything. Of a disabled rollout too, if keys are pinned to v2 there:
  only what is rolled back lets nobody through.

Where an entry has two outcomes, the second is the one at the end of the road: nothing left for v2 (DISABLED,
and after a step down ROLLED_BACK), or no phase left (COMPLETED). A pair that is not in the table is illegal.
A move that changes nothing (state, weight and phase stay) is legal and is no transition: asking twice is no
error and leaves no second record.
"""

from __future__ import annotations

from proxy.errors import IllegalMove
from proxy.model import State, Verb

MOVES: dict[tuple[State, Verb], tuple[State, ...]] = {
    (State.DISABLED, Verb.START): (State.RUNNING,),
    (State.DISABLED, Verb.SET): (State.RUNNING, State.DISABLED),
    (State.DISABLED, Verb.ROLLBACK): (State.DISABLED, State.ROLLED_BACK),
    (State.DISABLED, Verb.STEP_DOWN): (State.DISABLED,),
    (State.DISABLED, Verb.ABORT): (State.ABORTED,),
    #
    (State.RUNNING, Verb.START): (State.RUNNING,),  # enters the first phase if it is in none
    (State.RUNNING, Verb.PAUSE): (State.PAUSED,),
    (State.RUNNING, Verb.RESUME): (State.RUNNING,),
    (State.RUNNING, Verb.PROMOTE): (State.RUNNING, State.COMPLETED),
    (State.RUNNING, Verb.SET): (State.RUNNING, State.DISABLED),
    (State.RUNNING, Verb.ROLLBACK): (State.ROLLED_BACK,),
    (State.RUNNING, Verb.STEP_DOWN): (State.RUNNING, State.ROLLED_BACK),
    (State.RUNNING, Verb.ABORT): (State.ABORTED,),
    #
    (State.PAUSED, Verb.PAUSE): (State.PAUSED,),
    (State.PAUSED, Verb.RESUME): (State.RUNNING, State.DISABLED),
    (State.PAUSED, Verb.PROMOTE): (State.RUNNING, State.COMPLETED),
    (State.PAUSED, Verb.SET): (State.PAUSED,),
    (State.PAUSED, Verb.ROLLBACK): (State.ROLLED_BACK,),
    (State.PAUSED, Verb.STEP_DOWN): (State.PAUSED, State.ROLLED_BACK),
    (State.PAUSED, Verb.ABORT): (State.ABORTED,),
    #
    (State.ROLLED_BACK, Verb.START): (State.RUNNING,),
    (State.ROLLED_BACK, Verb.SET): (State.RUNNING, State.DISABLED),
    (State.ROLLED_BACK, Verb.ROLLBACK): (State.ROLLED_BACK,),
    (State.ROLLED_BACK, Verb.STEP_DOWN): (State.ROLLED_BACK,),
    (State.ROLLED_BACK, Verb.ABORT): (State.ABORTED,),
    #
    (State.COMPLETED, Verb.START): (State.RUNNING,),
    (State.COMPLETED, Verb.PAUSE): (State.PAUSED,),
    (State.COMPLETED, Verb.PROMOTE): (State.COMPLETED,),
    (State.COMPLETED, Verb.SET): (State.RUNNING, State.DISABLED),
    (State.COMPLETED, Verb.ROLLBACK): (State.ROLLED_BACK,),
    (State.COMPLETED, Verb.STEP_DOWN): (State.RUNNING, State.ROLLED_BACK),
    (State.COMPLETED, Verb.ABORT): (State.ABORTED,),
    #
    (State.ABORTED, Verb.START): (State.RUNNING,),
    (State.ABORTED, Verb.SET): (State.RUNNING, State.DISABLED),
    (State.ABORTED, Verb.ROLLBACK): (State.ABORTED,),
    (State.ABORTED, Verb.STEP_DOWN): (State.ABORTED,),
    (State.ABORTED, Verb.ABORT): (State.ABORTED,),
}


def outcomes(state: State, verb: Verb) -> tuple[State, ...]:
    """Where `verb` may lead from `state`, the usual outcome first. Raises IllegalMove without an entry."""
    try:
        return MOVES[state, verb]
    except KeyError:
        legal = ", ".join(v for v in Verb if (state, v) in MOVES)
        raise IllegalMove(
            f"{verb} is not possible while the rollout is {state} (possible: {legal})"
        ) from None


def diagram() -> str:
    """The table as a mermaid state diagram, one arrow per pair of states, for docs/state-machine.md."""
    arrows: dict[tuple[State, State], list[Verb]] = {}
    for (before, verb), afters in MOVES.items():
        for after in afters:
            arrows.setdefault((before, after), []).append(verb)
    lines = ["stateDiagram-v2", f"    [*] --> {State.DISABLED}", f"    [*] --> {State.RUNNING}"]
    lines += [f"    {before} --> {after}: {', '.join(verbs)}" for (before, after), verbs in arrows.items()]
    return "\n".join(lines) + "\n"
