"""The command line, `fhir-gateway`: one module a command, imported only when that command is called."""

from importlib import import_module

import click

from gateway.settings import SettingsError

# The name of each command, and where its click command is.
COMMANDS = {
    "run": "gateway.cli.run:run",
    "web": "gateway.cli.serve:web",
    "worker": "gateway.cli.serve:worker",
    "sweep": "gateway.cli.serve:sweep",
    "db": "gateway.cli.db:db",
    "config": "gateway.cli.config:config",
    "deliveries": "gateway.cli.deliveries:deliveries",
    "replay": "gateway.cli.replay:replay",
    "export": "gateway.cli.export:export",
    "policies": "gateway.cli.policies:policies",
    "partners": "gateway.cli.partners:partners",
    "validate": "gateway.cli.validate:validate",
    "convert": "gateway.cli.convert:convert",
    "demo": "gateway.cli.demo:demo",
    "simulate": "gateway.cli.simulate:simulate",
}


class Commands(click.Group):
    """The group of COMMANDS; a setting that cannot be used ends any of them with its sentence."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except SettingsError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fhir-gateway")
def main() -> None:
    """A FHIR messaging gateway: a message in, a reply out, kept for good."""
