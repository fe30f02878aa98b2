"""`motia completion`."""

from __future__ import annotations

import click

from motia_runtime.cli.group import project_options


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@project_options
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash  echo 'eval "$(motia completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(motia completion zsh)"' >> ~/.zshrc
    fish  motia completion fish > ~/.config/fish/completions/motia.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click has these three
    root = ctx.find_root()
    click.echo(kind(root.command, {}, root.info_name or "motia", "_MOTIA_COMPLETE").source())
