"""What practitioners would otherwise use, each tuned before it answers: the registry.

A further method is one more file with a score function, and one more line here.
"""

from demand.baselines.als import implicit_als
from demand.baselines.baseline import Baseline
from demand.baselines.gradient_boosting import horizon_chances, next_chances
from demand.baselines.popularity import category_top, global_top, personal_top
from demand.baselines.tifu_knn import tifu_knn
from demand.baselines.up_cf import up_cf
from demand.errors import SettingsError

BASELINES: dict[str, Baseline] = {
    each.name: each
    for each in (
        Baseline("global-top", global_top),
        Baseline("category-top", category_top),
        Baseline("personal-top", personal_top),
        Baseline(
            "tifu-knn",
            tifu_knn,
            tuple(
                {"group_size": size, "within_decay": 0.9, "group_decay": decay, "neighbours": count, "own_share": share}
                for size, decay in ((7, 0.6), (3, 0.9))
                for count in (300, 100)
                for share in (0.5, 0.7)
            ),
        ),
        Baseline(
            "up-cf",
            up_cf,
            tuple(
                {"recency": recency, "alpha": alpha, "locality": locality}
                for recency in (40, 20, None)
                for alpha in (0.75, 0.5)
                for locality in (10, 15)
            ),
        ),
        Baseline(
            "implicit-als",
            implicit_als,
            tuple(
                {"factors": 64, "regularization": regularization, "alpha": alpha}
                for alpha in (0.1, 0.2)
                for regularization in (10.0, 30.0)
            ),
            package="implicit",
        ),
        Baseline(
            "lightgbm",
            next_chances,
            (
                {"leaves": 31, "learning_rate": 0.05, "rounds": 200},
                {"leaves": 63, "learning_rate": 0.05, "rounds": 200},
            ),
            horizon_score=horizon_chances,
            package="lightgbm",
            one_moment=True,
            chances=True,
        ),
    )
}


def named(names: str) -> tuple[list[Baseline], list[str]]:
    """The baselines of a comma-separated list, "all" or "none".

    Returns:
        The baselines, and the names of those that "all" leaves out for lack of their package.

    Raises:
        SettingsError: a name is unknown, or its package is not installed.
    """
    if names in ("all", "none"):
        wanted = list(BASELINES.values()) if names == "all" else []
        return [each for each in wanted if each.installed], [each.name for each in wanted if not each.installed]
    chosen = [each.strip() for each in names.split(",")]
    for name in chosen:
        if name not in BASELINES:
            raise SettingsError(f"no baseline '{name}': choose among {', '.join(BASELINES)}, or all, or none")
        if not BASELINES[name].installed:
            raise SettingsError(
                f"baseline '{name}' needs the package '{BASELINES[name].package}': pip install 'demandcast[baselines]'"
            )
    return [BASELINES[name] for name in dict.fromkeys(chosen)], []
