"""The commands, one file each; a file's heavy imports happen when its command runs."""

import typer

from ray_app.commands import (
    apply,
    data,
    doctor,
    evaluate,
    events,
    keys,
    models,
    predict,
    privacy,
    run,
    serve,
    train,
    tune,
    watch,
)


def application() -> typer.Typer:
    """The command line, with every command."""
    app = typer.Typer(
        name="demandcast",
        help="What each customer will want next: import data, tune, train, evaluate, serve and predict.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.add_typer(data.app, name="data", help="Make datasets.")
    app.add_typer(models.app, name="models", help="The model registry.")
    app.add_typer(apply.app, name="apply", help="What predictions are for, over a whole dataset.")
    app.add_typer(events.app, name="events", help="The log of what an endpoint was told.")
    app.add_typer(privacy.app, name="privacy", help="Erasure, consent, and what models give away.")
    app.add_typer(keys.app, name="keys", help="Who may ask an endpoint, and how often.")
    app.add_typer(serve.app, name="serve")
    for command in (train.train, tune.tune, evaluate.evaluate, predict.predict, run.run, watch.watch, doctor.doctor):
        app.command()(command)
    return app
