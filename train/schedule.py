"""Pure functions of the step: how large a step is, and which phase it belongs to."""

from __future__ import annotations

from train.recipe import Phase, Recipe


def lr_factor(recipe: Recipe, progress: float) -> float:
    """Multiplier of the peak learning rate at `progress` (0 at the first step, below 1 at the last).

    `triangle` rises linearly, then falls linearly to `final_lr_fraction` (Smith 2017, arXiv 1708.07120);
    `steps` divides by 10 at each of `step_fractions` (He et al. 2015, arXiv 1512.03385).
    """
    if progress < recipe.warmup_fraction:
        return max(progress, 1e-3) / recipe.warmup_fraction
    if recipe.schedule == "steps":
        return float(0.1 ** sum(progress >= fraction for fraction in recipe.step_fractions))
    fallen = (progress - recipe.warmup_fraction) / (1 - recipe.warmup_fraction)
    return 1 - (1 - recipe.final_lr_fraction) * fallen


def phase_at(recipe: Recipe, progress: float) -> Phase:
    """The last phase that has begun."""
    begun = [phase for phase in recipe.phases if phase.from_fraction <= progress]
    return begun[-1]
