"""Updates of optimizers in few passes over memory."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.adamw import adamw


def fuses(variables: Sequence[Any]) -> bool:
    """Tells whether the updates here can be taken for some weights."""
    values = [variable.value for variable in variables]
    return (
        not torch.compiler.is_compiling()
        and len({value.device for value in values}) == 1
        and all(value.dtype == torch.float32 for value in values)
    )


@torch.no_grad()
def adam(
    variables: Sequence[Any],
    gradients: list[torch.Tensor],
    moments: Sequence[Sequence[Any]],
    step: int,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
) -> None:
    """Takes a step of Adam in one pass.

    Args:
        variables: weights.
        gradients: of the loss.
        moments: first, second and, for AMSGrad, largest second moments.
        step: number of this step, from 1.
        learning_rate: step size.
        betas: decay of both moments.
        epsilon: added to the square root of the second moment before the
            correction of its bias, as Keras does. PyTorch adds its own after
            it, so that it is divided here by what the correction divides by.
        weight_decay: share of the weights, times the learning rate, that they
            lose before.
    """
    values = [variable.value for variable in variables]
    states = [[v.value for v in m] for m in moments]
    for state in states:
        _lay_out_as(values, state)
    first, second, *largest = states
    adamw(
        values,
        _laid_out_as(values, gradients),
        first,
        second,
        largest[0] if largest else [],
        # Counted up before they are used.
        list(torch.full((len(variables),), step - 1.0).unbind()),
        fused=True,
        amsgrad=bool(largest),
        beta1=betas[0],
        beta2=betas[1],
        lr=learning_rate,
        weight_decay=weight_decay,
        eps=epsilon / (1 - betas[1] ** step) ** 0.5,
        maximize=False,
    )


@torch.no_grad()
def sgd(
    variables: Sequence[Any],
    gradients: list[torch.Tensor],
    momentums: Sequence[Any],
    learning_rate: float,
    momentum: float,
    nesterov: bool,
) -> None:
    """Takes a step of stochastic gradient descent in one pass.

    Keras keeps the steps that were taken, PyTorch the sums of gradients that
    a step is the learning rate's multiple of. PyTorch's kernel takes those of
    Keras where it is told to damp each gradient down to its part of the step,
    and to add the sum as it is.

    Args:
        variables: weights.
        gradients: of the loss.
        momentums: the steps taken last; none without momentum.
        learning_rate: step size.
        momentum: share of the last step that is taken again.
        nesterov: whether to go a momentum ahead, which takes four passes, as
            PyTorch does not take the learning rate then.
    """
    values = [variable.value for variable in variables]
    steps = [variable.value for variable in momentums]
    _lay_out_as(values, steps)
    if steps and nesterov:
        torch._foreach_mul_(steps, momentum)
        torch._foreach_add_(steps, gradients, alpha=-learning_rate)
        torch._foreach_add_(values, steps, alpha=momentum)
        torch._foreach_add_(values, gradients, alpha=-learning_rate)
        return
    torch._fused_sgd_(
        values,
        _laid_out_as(values, gradients),
        steps,
        weight_decay=0.0,
        momentum=momentum,
        lr=-1.0 if steps else learning_rate,
        dampening=1 + learning_rate,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )


@torch.no_grad()
def adagrad(
    variables: Sequence[Any],
    gradients: list[torch.Tensor],
    accumulators: Sequence[Any],
    learning_rate: float,
    epsilon: float,
) -> None:
    """Takes a step of Adagrad in four passes.

    PyTorch's own kernel adds epsilon after the square root, Keras before it.

    Args:
        variables: weights.
        gradients: of the loss.
        accumulators: sums of squares of the gradients.
        learning_rate: step size.
        epsilon: added to the accumulators.
    """
    sums = [accumulator.value for accumulator in accumulators]
    torch._foreach_addcmul_(sums, gradients, gradients)
    roots = torch._foreach_add(sums, epsilon)
    torch._foreach_sqrt_(roots)
    torch._foreach_addcdiv_(
        [variable.value for variable in variables],
        gradients,
        roots,
        value=-learning_rate,
    )


def _lay_out_as(values: list[Any], states: list[Any]) -> None:
    """Gives states the layout of their weights.

    The fused kernels take all tensors in the order of their memory.
    """
    for value, state in zip(values, states, strict=False):
        if state.stride() != value.stride():
            state.data = torch.empty_like(value).copy_(state)


def _laid_out_as(values: list[Any], gradients: list[Any]) -> list[Any]:
    """Gradients in the layout of their weights."""
    return [
        gradient
        if gradient.stride() == value.stride()
        else torch.empty_like(value).copy_(gradient)
        for value, gradient in zip(values, gradients, strict=True)
    ]
