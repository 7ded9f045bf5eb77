"""Training on Lightning Fabric: one loop for CPU, one GPU, or many (start those with ``torchrun``)."""

import copy
import csv
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.tensorboard import SummaryWriter

from ..firmware_py.atomic import atomic_path
from ..firmware_py.errors import InputError
from .bin2bin.discriminator import Discriminator
from .bin2bin.losses import discriminator_loss, generator_adversarial_loss
from .bin2bin.objective import Objective
from .bin2bin.refiner import Refiner
from .bin2bin.runtime import load_weights, save_weights
from .data.examples import StoredExamples
from .data.folder import AudioFolder, split_files
from .data.packets import Batch, PacketLosses
from .experiment import Experiment
from .validate import Validation

__all__ = ["Schedule", "train"]

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Schedule:
    """How often a run looks up from its work, in generator steps."""

    log: int = 50
    checkpoint: int = 500
    validate: int = 2000
    validation_clips: int = 12
    validation_seconds: float = 6.0


@dataclass
class State:
    """All that a run needs to go on exactly where it stopped."""

    refiner: Any
    discriminator: Any
    average: Refiner
    """Exponential moving average of the refiner: what is validated and shipped."""
    optimizer: Any
    judge_optimizer: Any
    scheduler: LambdaLR
    judge_scheduler: LambdaLR
    step: int = 0
    best: float = float("inf")


def train(
    experiment: Experiment,
    data: Path,
    out: Path,
    fabric: Fabric,
    schedule: Schedule,
    resume: bool,
    warm_start: Path | None = None,
) -> Path:
    """Train ``experiment`` on the audio below ``data``; results and checkpoints go to ``out``.

    Returns the path of the best weights. With ``resume`` the run goes on from ``out``'s checkpoint; batch n is the same
    batch in every run. A run without a checkpoint begins from the weights ``warm_start``, if given: network only,
    the optimizer anew.

    Raises
    ------
    InputError
        When data is missing, ``out`` holds another experiment's run, or ``warm_start`` another network.
    """
    out.mkdir(parents=True, exist_ok=True)
    fabric.seed_everything(experiment.seed + fabric.global_rank)
    training_files, validation_files = split_files(data)
    objective = fabric.setup_module(Objective(experiment))
    state = _fresh(experiment, objective, fabric)
    if resume and (out / CHECKPOINT).exists():
        _restore(state, experiment, out / CHECKPOINT)
    elif warm_start is not None:
        _warm_start(state, experiment, warm_start)
    past = state.average.spectrum.past_samples
    folder = AudioFolder.load(training_files, experiment.sample_rate_hz, PacketLosses.shortest_clip(past))
    batch_seed = experiment.seed * 1000 + fabric.global_rank
    main = fabric.is_global_zero
    validation = Validation(validation_files, experiment, schedule.validation_clips, schedule.validation_seconds)
    writer = SummaryWriter(out) if main else None
    console = Console(stderr=True)
    console.print(f"{experiment.name}: step {state.step} of {experiment.steps}, results in {out}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (main and console.is_terminal)) as progress:
        batches: Iterator[Batch]
        if experiment.examples:
            making = progress.add_task("making examples", total=experiment.examples)
            stored = StoredExamples(
                out.parent / "examples", training_files, folder, experiment.method, batch_seed, experiment.examples,
                experiment.refiner.repetition, lambda made: progress.advance(making, made),
            )  # fmt: skip
            batches = stored.batches(experiment.batch, state.step, experiment.steps, past)
            progress.remove_task(making)
        else:
            repetition = experiment.refiner.repetition
            fresh = PacketLosses(folder, experiment.method, past, batch_seed, repetition=repetition)
            batches = fresh.batches(experiment.batch, state.step, experiment.steps)
        task = progress.add_task("training", total=experiment.steps, completed=state.step)
        for batch in batches:
            terms = _step(state, experiment, objective, _to(batch, fabric.device), fabric)
            state.step += 1
            progress.advance(task)
            if not main or writer is None:
                continue
            if state.step % schedule.log == 0:
                for name, value in terms.items():
                    writer.add_scalar(f"train/{name}", float(value), state.step)
            finished = state.step == experiment.steps
            if state.step % schedule.validate == 0 or finished:
                _validate(state, experiment, validation, writer, out, console)
            if state.step % schedule.checkpoint == 0 or finished:
                _save(state, experiment, out / CHECKPOINT)
    if writer is not None:
        writer.close()
    return out / "best.npz"


def _fresh(experiment: Experiment, objective: Any, fabric: Fabric) -> State:
    refiner = Refiner(experiment.refiner)
    discriminator: Discriminator = objective.discriminator(refiner)
    average = copy.deepcopy(refiner).eval().requires_grad_(requires_grad=False)
    if fabric.device.type == "cpu":  # the convolutions' fast layout there
        refiner = refiner.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(refiner.parameters(), experiment.learning_rate, betas=(0.5, 0.999))
    judge_optimizer = torch.optim.Adam(discriminator.parameters(), experiment.learning_rate, betas=(0.5, 0.999))

    def cosine_to_half(step: int) -> float:
        return float(0.75 + 0.25 * torch.cos(torch.tensor(torch.pi * min(1.0, step / experiment.steps))))

    scheduler = LambdaLR(optimizer, cosine_to_half)
    judge_scheduler = LambdaLR(judge_optimizer, lambda n: cosine_to_half(n * experiment.generator_steps))
    ready, optimizer = fabric.setup(refiner, optimizer)
    ready.mark_forward_method("refine_spectrum")
    judge, judge_optimizer = fabric.setup(discriminator, judge_optimizer)
    return State(ready, judge, average.to(fabric.device), optimizer, judge_optimizer, scheduler, judge_scheduler)


def _step(state: State, experiment: Experiment, objective: Any, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
    """One generator update, and a discriminator update at every ``generator_steps``-th."""
    adversarial = experiment.losses.adversarial > 0 and state.step >= experiment.adversarial_from
    views = objective.views(state.refiner, batch)
    loss, terms = objective.generator_loss(views, batch)
    if adversarial:
        generated, real, condition = objective.judged(state.refiner, views)
        if state.step % experiment.generator_steps == 0:
            judge_loss = discriminator_loss(
                state.discriminator(real, condition), state.discriminator(generated.detach(), condition)
            )
            state.judge_optimizer.zero_grad()
            fabric.backward(judge_loss)
            state.judge_optimizer.step()
            state.judge_scheduler.step()
            terms["discriminator"] = judge_loss.detach()
        terms["adversarial"] = generator_adversarial_loss(state.discriminator(generated, condition))
        loss = loss + experiment.losses.adversarial * terms["adversarial"]
    state.optimizer.zero_grad()
    fabric.backward(loss)
    terms["gradient"] = fabric.clip_gradients(state.refiner, state.optimizer, max_norm=5.0, error_if_nonfinite=False)
    if torch.isfinite(loss):
        state.optimizer.step()
    state.scheduler.step()
    _update_average(state.average, state.refiner, min(experiment.ema, (1 + state.step) / (10 + state.step)))
    return {"loss": loss.detach(), **{k: v.detach() for k, v in terms.items()}}


@torch.no_grad()
def _update_average(average: Refiner, refiner: Any, decay: float) -> None:
    source = refiner.module.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(source[name].to(value.dtype), 1 - decay)
        else:
            value.copy_(source[name])


def _validate(
    state: State, experiment: Experiment, validation: Validation, writer: SummaryWriter, out: Path, console: Console
) -> None:
    figures = validation.run(state.average, out / "examples")
    for name, value in figures.items():
        writer.add_scalar(f"validation/{name}", value, state.step)
    console.print(f"step {state.step}: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))
    curve = out / "validation.csv"
    new = not curve.exists()
    with curve.open("a", newline="") as file:
        rows = csv.writer(file)
        if new:
            rows.writerow(["step", *figures])
        rows.writerow([state.step, *(f"{v:.6f}" for v in figures.values())])
    card = {"experiment": dataclasses.asdict(experiment), "steps": state.step, "validation": figures}
    save_weights(state.average, out / "last.npz", card)
    if figures["score"] < state.best:
        state.best = figures["score"]
        save_weights(state.average, out / "best.npz", card)


def _save(state: State, experiment: Experiment, path: Path) -> None:
    parts = {name: value for name, value in vars(state).items() if not hasattr(value, "state_dict")}
    modules = {name: value.state_dict() for name, value in vars(state).items() if hasattr(value, "state_dict")}
    random = torch.get_rng_state()
    saved = {"experiment": dataclasses.asdict(experiment), "parts": parts, "modules": modules, "random": random}
    with atomic_path(path) as temporary:
        torch.save(saved, temporary)


def _restore(state: State, experiment: Experiment, path: Path) -> None:
    saved = torch.load(path, map_location="cpu", weights_only=True)
    now = dataclasses.asdict(experiment)
    changed = [k for k in now if now[k] != saved["experiment"].get(k) and k != "steps"]
    if changed:
        raise InputError(
            f"{path} is a run with another {', '.join(changed)}: give another --out, or --fresh to start anew"
        )
    for name, value in saved["modules"].items():
        getattr(state, name).load_state_dict(value)
    for name, value in saved["parts"].items():
        setattr(state, name, value)
    torch.set_rng_state(saved["random"])


def _warm_start(state: State, experiment: Experiment, path: Path) -> None:
    earlier = load_weights(path)
    if earlier.config != experiment.refiner:
        raise InputError(f"{path} holds another network than {experiment.name}'s [refiner]: give weights of the same")
    for refiner in (state.refiner, state.average):
        refiner.load_state_dict(earlier.state_dict())


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    moved = {k: None if t is None else t.pin_memory().to(device, non_blocking=True) for k, t in vars(batch).items()}
    return Batch(**moved)
